//! Many cases of one target: made, tried, and told about when they fail.

use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use crate::mutation::Mutator;

/// What chance starts from unless said otherwise: the same on every machine, so that a change is what breaks a build.
const SEED: u64 = 0x6e75_726f_6e65_7321;

/// Attempts at making a failing input smaller.
const MINIMISING: usize = 5_000;

/// One target.
#[derive(Clone, Copy)]
pub struct Campaign {
    /// For messages and file names.
    pub name: &'static str,
    /// The folder below `fuzz/corpus/` that holds its seeds.
    pub corpus: &'static str,
    /// Words that mean something to it.
    pub tokens: &'static [&'static str],
    /// How many cases are tried unless the environment says so: as many as take a few seconds.
    pub cases: u64,
}

/// An input that broke the property.
pub struct Failure {
    /// Which case it was: a file of the corpus, or a number.
    pub case: String,
    /// What was wrong.
    pub problem: String,
    /// A smaller input that is wrong too.
    pub smallest: Vec<u8>,
    whole: Vec<u8>,
}

/// How a campaign went.
pub struct Outcome {
    /// The first failure, which ends it.
    pub failure: Option<Failure>,
    tried: u64,
    took: Duration,
    slowest: (Duration, String),
}

impl Campaign {
    /// Runs as many cases as the environment says, and fails loudly.
    pub fn assert_holds(self, property: impl Fn(&[u8]) -> Result<(), String>) {
        let (seed, cases) = (from_env("NURONES_FUZZ_SEED", SEED), from_env("NURONES_FUZZ_CASES", self.cases));
        let outcome = self.run(seed, cases, property);
        let (slowest, slowest_case) = &outcome.slowest;
        eprintln!(
            "{}: {} cases from seed {seed} in {:.1} s; the slowest took {slowest:.1?} (case {slowest_case})",
            self.name,
            outcome.tried,
            outcome.took.as_secs_f64(),
        );
        let Some(failure) = outcome.failure else { return };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let whole = folder.join(format!("fuzz-{}-{seed}-{}.whole", self.name, failure.case));
        let smallest = whole.with_extension("smallest");
        std::fs::write(&whole, &failure.whole).unwrap();
        std::fs::write(&smallest, &failure.smallest).unwrap();
        panic!(
            "{}: case {} of seed {seed}: {}\nwhole input: {}\nsmallest ({} bytes): {}\n{}",
            self.name,
            failure.case,
            failure.problem,
            whole.display(),
            failure.smallest.len(),
            smallest.display(),
            String::from_utf8_lossy(&failure.smallest[..failure.smallest.len().min(2000)]).escape_debug(),
        );
    }

    /// Tries the corpus as it is, then `cases` mutations of it, up to the first that breaks `property`.
    pub fn run(self, seed: u64, cases: u64, property: impl Fn(&[u8]) -> Result<(), String>) -> Outcome {
        let corpus = self.corpus();
        let began = Instant::now();
        let mut outcome =
            Outcome { failure: None, tried: 0, took: Duration::ZERO, slowest: (Duration::ZERO, String::new()) };
        let running = Running::new(self.name);
        let attempt = |case: String, input: Vec<u8>, outcome: &mut Outcome| {
            running.note(&input);
            let before = Instant::now();
            let verdict = verdict(&property, &input);
            outcome.tried += 1;
            let took = before.elapsed();
            if took > outcome.slowest.0 {
                outcome.slowest = (took, case.clone());
            }
            if let Err(problem) = verdict {
                let smallest = minimised(&property, &input);
                outcome.failure = Some(Failure { case, problem, smallest, whole: input });
            }
            outcome.failure.is_some()
        };
        let corpus_cases = corpus.iter().map(|(name, seed)| (name.clone(), seed.clone()));
        let seeds: Vec<&[u8]> = corpus.iter().map(|(_, seed)| seed.as_slice()).collect();
        let mutated = (0..cases).map(|case| {
            let mut hasher = DefaultHasher::new();
            (self.name, seed, case).hash(&mut hasher);
            (case.to_string(), Mutator::new(hasher.finish(), &seeds, self.tokens).mutant())
        });
        for (case, input) in corpus_cases.chain(mutated) {
            if attempt(case, input, &mut outcome) {
                break;
            }
        }
        outcome.took = began.elapsed();
        outcome
    }

    fn corpus(self) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(self.corpus);
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        assert!(files.len() >= 3, "there are hardly any seeds for {}", self.name);
        let named = |path: PathBuf| {
            let seed = std::fs::read(&path).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), seed)
        };
        files.into_iter().map(named).collect()
    }
}

/// Keeps the input being tried in a file: what ends the whole process, like a stack overflow, can still be found there.
struct Running {
    path: PathBuf,
    file: File,
}

impl Running {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}-{}.running", std::process::id()));
        Self { file: File::create(&path).unwrap(), path }
    }

    fn note(&self, input: &[u8]) {
        self.file.set_len(0).unwrap();
        self.file.write_all_at(input, 0).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

thread_local! {
    /// Panics of inputs under trial are expected here, thousands of them while one is made smaller.
    static TRYING: Cell<bool> = const { Cell::new(false) };
}

/// What the property says; a panic is a wrong as well.
fn verdict(property: &impl Fn(&[u8]) -> Result<(), String>, input: &[u8]) -> Result<(), String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !TRYING.get() {
                usual(panic);
            }
        }));
    });
    TRYING.set(true);
    let caught = catch_unwind(AssertUnwindSafe(|| property(input)));
    TRYING.set(false);
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

/// Leaves out parts, large ones first, as long as what remains is still wrong.
fn minimised(property: &impl Fn(&[u8]) -> Result<(), String>, input: &[u8]) -> Vec<u8> {
    let (mut smallest, mut attempts) = (input.to_vec(), 0);
    let mut part = smallest.len() / 2;
    while part > 0 {
        let mut from = 0;
        while from < smallest.len() && attempts < MINIMISING {
            let mut shorter = smallest.clone();
            shorter.drain(from..(from + part).min(smallest.len()));
            attempts += 1;
            if verdict(property, &shorter).is_err() {
                smallest = shorter;
            } else {
                from += part;
            }
        }
        part = if part >= smallest.len() { smallest.len() / 2 } else { part / 2 };
    }
    smallest
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number")))
}
