//! What a process uses over time: whether it grows.

use super::history::Gauge;

/// Looks at either end whose middle one is taken, so that a single peak is no growth; of few looks a third.
const ENDS: usize = 9;

const SECONDS_PER_HOUR: f64 = 3600.0;
const BYTES_PER_MIB: f64 = 1048576.0;

/// Looks at a process, each with its time in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Trend<'a>(pub &'a [(f64, Gauge)]);

impl Trend<'_> {
    /// How much memory it uses more each hour, by least squares.
    pub fn rss_slope_mib_per_h(self) -> f64 {
        let count = self.0.len().max(1) as f64;
        let mean = |of: &dyn Fn(&(f64, Gauge)) -> f64| self.0.iter().map(of).sum::<f64>() / count;
        let (time, rss) = (mean(&|look| look.0), mean(&rss_mib));
        let squares = mean(&|look| (look.0 - time).powi(2));
        let products = mean(&|look| (look.0 - time) * (rss_mib(look) - rss));
        if squares == 0.0 { 0.0 } else { products / squares * SECONDS_PER_HOUR }
    }

    /// Memory at the start, in MiB.
    pub fn rss_start_mib(self) -> f64 {
        middle(self.0.iter().take(self.ends()))
    }

    /// Memory at the end, in MiB.
    pub fn rss_end_mib(self) -> f64 {
        middle(self.0.iter().rev().take(self.ends()))
    }

    fn ends(self) -> usize {
        self.0.len().div_ceil(3).min(ENDS)
    }

    /// The smallest and the largest that `of` was.
    pub fn range(self, of: impl Fn(&Gauge) -> u64) -> (u64, u64) {
        let values = || self.0.iter().map(|(_, gauge)| of(gauge));
        (values().min().unwrap_or(0), values().max().unwrap_or(0))
    }
}

fn rss_mib(look: &(f64, Gauge)) -> f64 {
    look.1.rss_bytes as f64 / BYTES_PER_MIB
}

fn middle<'a>(looks: impl Iterator<Item = &'a (f64, Gauge)>) -> f64 {
    let mut values: Vec<f64> = looks.map(rss_mib).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at_s: f64, rss_mib: u64, fds: u64) -> (f64, Gauge) {
        (at_s, Gauge { rss_bytes: rss_mib << 20, fds, ..Gauge::default() })
    }

    #[test]
    fn a_steady_climb_has_its_slope_and_a_single_peak_hardly_any() {
        let climb: Vec<_> = (0..100).map(|at| look(f64::from(at) * 36.0, 10 + at as u64, 3)).collect();
        assert!((Trend(&climb).rss_slope_mib_per_h() - 100.0).abs() < 1e-6);
        assert_eq!((Trend(&climb).rss_start_mib(), Trend(&climb).rss_end_mib()), (14.0, 105.0));
        let mut flat: Vec<_> = (0..100).map(|at| look(f64::from(at) * 36.0, 10, 3)).collect();
        flat[99] = look(99.0 * 36.0, 50, 7);
        assert!(Trend(&flat).rss_slope_mib_per_h() < 5.0);
        assert_eq!((Trend(&flat).rss_start_mib(), Trend(&flat).rss_end_mib()), (10.0, 10.0));
        assert_eq!(Trend(&flat).range(|gauge| gauge.fds), (3, 7));
    }

    #[test]
    fn few_looks_have_two_ends_too() {
        let few: Vec<_> = (0..3).map(|at| look(f64::from(at), 10 + at as u64, 3)).collect();
        assert_eq!((Trend(&few).rss_start_mib(), Trend(&few).rss_end_mib()), (10.0, 12.0));
    }

    #[test]
    fn nothing_seen_is_no_growth() {
        assert_eq!(Trend(&[]).rss_slope_mib_per_h(), 0.0);
        assert_eq!((Trend(&[]).rss_start_mib(), Trend(&[]).range(|gauge| gauge.fds)), (0.0, (0, 0)));
    }
}
