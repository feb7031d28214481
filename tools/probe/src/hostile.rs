//! What a tool must not do, done on purpose. The host has to end each of these.

use std::hint::black_box;

pub fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

pub fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

/// Allocates `mb` megabytes and touches every page; without `mb` it never ends by itself.
pub fn alloc(mb: Option<u64>) -> u64 {
    const MEGABYTE: usize = 1 << 20;
    const PAGE: usize = 4096;
    let mut held: Vec<Vec<u8>> = Vec::new();
    while mb.is_none_or(|mb| (held.len() as u64) < mb) {
        let mut block = vec![0_u8; MEGABYTE];
        for byte in block.iter_mut().step_by(PAGE) {
            *byte = 1;
        }
        held.push(black_box(block));
    }
    held.len() as u64
}

/// Fills `mb` megabytes and copies the first half of them over the second, `times` times; returns the megabytes moved.
/// With bulk memory each is one instruction, which no host can interrupt half way.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "bulk-memory"))]
pub fn fill(mb: u64, times: u64) -> u64 {
    let mut memory = vec![0_u8; (mb as usize) << 20];
    let half = memory.len() / 2;
    for round in 0..times {
        memory.fill(round as u8);
        memory.copy_within(..half, half);
        black_box(&mut memory);
    }
    times * (mb + mb / 2)
}

/// Calls itself until the stack ends. The argument passes through memory, so no optimiser makes a loop of it.
#[allow(unconditional_recursion)]
#[inline(never)]
pub fn recurse(depth: u64) -> u64 {
    let below = recurse(black_box(depth + 1));
    black_box(below) + depth
}
