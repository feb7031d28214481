//! The rules of the file tools that need no file: which directory a path belongs to, what the arguments mean, how bytes
//! become a result. Everything here is pure, so it is tested natively and is the same in warm tools and in commands.
#![forbid(unsafe_code)]

mod arguments;
mod fault;
mod link;
mod media;
mod payload;
mod place;
mod report;
mod schema;
mod temporary;

pub use arguments::{Encoding, ReadArguments, WriteArguments, WriteMode};
pub use fault::{Access, Cause, Fault, Kind};
pub use link::{Entry, Resolved, resolve};
pub use media::media_type;
pub use payload::{Payload, encode_base64, encoded_length};
pub use place::{PATH_LIMIT, Place, locate};
pub use report::Report;
pub use schema::{READ_SCHEMA, WRITE_SCHEMA};
pub use temporary::temporary;
