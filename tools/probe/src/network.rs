//! The network through std, which no tool is granted.

use std::io::ErrorKind;
use std::net::TcpStream;

use crate::bindings::nurones::tool::types::{ErrorCode, ToolError};
use crate::failure;

pub fn connect(address: &str) -> Result<String, ToolError> {
    TcpStream::connect(address).map(|_| format!("connected to {address}")).map_err(|error| {
        let denied = error.kind() == ErrorKind::PermissionDenied;
        let code = if denied { ErrorCode::PermissionDenied } else { ErrorCode::Failed };
        failure(code, format!("connecting to {address} failed: {}", error.to_string().to_lowercase()))
    })
}
