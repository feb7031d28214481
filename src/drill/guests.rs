//! Faults of guests: loops, sleeps, bombs.

use super::catalogue::Drill;

/// This family.
pub const DRILLS: &[Drill] = &[];
