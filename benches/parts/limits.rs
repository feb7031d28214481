//! The limits of the ratios, from `limits.txt`: lines `BENCH NAME LIMIT`, `#` begins a comment.

use std::collections::BTreeMap;

/// Those of one bench that were not asked for yet.
pub struct Limits {
    left: BTreeMap<String, f64>,
}

impl Limits {
    /// Those of `bench`.
    pub fn of(bench: &str) -> Self {
        let lines = include_str!("../limits.txt").lines().map(|line| line.split('#').next().unwrap_or_default());
        let left = lines.filter(|line| !line.trim().is_empty()).filter_map(|line| {
            let [of, name, limit] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                panic!("limits.txt wants BENCH NAME LIMIT, not `{line}`");
            };
            let limit: f64 = limit.parse().unwrap_or_else(|_| panic!("limits.txt wants a number, not `{limit}`"));
            (of == bench).then(|| (name.to_owned(), limit))
        });
        Self { left: left.collect() }
    }

    /// The limit of `name`, if it has one.
    pub fn take(&mut self, name: &str) -> Option<f64> {
        self.left.remove(name)
    }

    /// Names that nobody asked for.
    pub fn rest(&self) -> impl Iterator<Item = &str> {
        self.left.keys().map(String::as_str)
    }
}
