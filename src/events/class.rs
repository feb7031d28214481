//! How much an event matters, and so how full a queue may be for it. Pure.

use std::str::FromStr;

/// How much an event matters; the greater one is shed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// One of very many, like a call that went well.
    Low,
    /// Worth knowing, like a call that went wrong.
    Normal,
    /// What the state of the server follows from.
    Critical,
}

impl Class {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::Critical];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::Critical => "critical",
        }
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|class| class.as_str() == name);
        found.ok_or_else(|| format!("there is no class `{name}`; choose low, normal or critical"))
    }
}

/// Share of a queue from which on events of class low are shed.
const LOW: f64 = 0.6;

/// The part of a queue that is kept for critical events: one place in so many.
const RESERVE: usize = 16;

/// How many events may wait in a queue before the next of a class is shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassLimits {
    limits: [usize; 3],
}

impl ClassLimits {
    /// For a queue of `capacity` in which events of class normal are shed from the share `watermark` on. Some room is
    /// always left to critical ones.
    pub fn new(capacity: usize, watermark: f64) -> Self {
        let share = |share: f64| (capacity as f64 * share) as usize;
        let normal = share(watermark).min(capacity - capacity.div_ceil(RESERVE));
        Self { limits: [share(LOW).min(normal), normal, capacity] }
    }

    /// How many may wait before one of `class` is shed.
    pub fn of(&self, class: Class) -> usize {
        self.limits[class as usize]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn low_is_shed_at_60_percent_and_normal_at_the_watermark() {
        let limits = ClassLimits::new(1000, 0.75);
        assert_eq!(Class::ALL.map(|class| limits.of(class)), [600, 750, 1000]);
        assert_eq!(Class::ALL.map(|class| ClassLimits::new(1000, 0.3).of(class)), [300, 300, 1000]);
        assert_eq!(Class::ALL.map(|class| ClassLimits::new(1000, 1.0).of(class)), [600, 937, 1000]);
    }

    #[test]
    fn a_class_is_read_by_its_name() {
        assert!(Class::ALL.into_iter().all(|class| class.as_str().parse() == Ok(class)));
        assert!("Low".parse::<Class>().unwrap_err().contains("choose low"));
    }

    proptest! {
        #[test]
        fn what_matters_more_is_never_shed_earlier(capacity in 1_usize..100_000, watermark in 0.1..=1.0) {
            let limits = ClassLimits::new(capacity, watermark);
            prop_assert!(limits.of(Class::Low) <= limits.of(Class::Normal));
            prop_assert!(limits.of(Class::Normal) < limits.of(Class::Critical));
            prop_assert_eq!(limits.of(Class::Critical), capacity);
        }
    }
}
