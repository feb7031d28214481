//! The ContextFrame as `nurones:tool/context` gives it to a guest.

use std::time::{Duration, Instant};

use super::contract::bindings::nurones::tool::context::{Budgets, Frame, Host, Stage};
use super::store::{CallInHand, ToolState};
use crate::frame;

impl ToolState {
    fn call_in_hand(&self) -> wasmtime::Result<&CallInHand> {
        self.call.as_ref().ok_or_else(|| wasmtime::format_err!("there is no call, and so no context"))
    }
}

impl Host for ToolState {
    fn current(&mut self) -> wasmtime::Result<Frame> {
        let frame = &self.call_in_hand()?.frame;
        let ms = |time: Duration| time.as_millis() as u64;
        Ok(Frame {
            tenant_id: frame.tenant_id.to_string(),
            reason_trace_id: frame.reason_trace_id.to_string(),
            stage: match frame.stage {
                frame::Stage::Dev => Stage::Dev,
                frame::Stage::Staging => Stage::Staging,
                frame::Stage::Prod => Stage::Prod,
            },
            risk_level: frame.risk_level,
            read_only: frame.read_only,
            allow_autotune: frame.allow_autotune,
            budgets: Budgets {
                cpu_ms: frame.budget.cpu.map(ms),
                mem_mb: frame.budget.memory_bytes.map(|bytes| (bytes >> 20) as u64),
                deadline_ms: frame.deadline.map(ms),
                calls_per_s: frame.allowance.calls_per_s,
                cpu_ms_per_min: frame.allowance.cpu_per_minute.map(ms),
            },
        })
    }

    fn time_left_ms(&mut self) -> wasmtime::Result<u64> {
        let deadline = self.call_in_hand()?.deadline;
        Ok(deadline.saturating_duration_since(Instant::now()).as_millis() as u64)
    }
}
