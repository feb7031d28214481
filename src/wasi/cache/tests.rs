//! The cache against damage, strangers, other processes and its own limit.

use std::os::unix::fs::PermissionsExt;

use super::*;

const ROOM: u64 = 1 << 20;

struct Bench {
    folder: tempfile::TempDir,
    key: CacheKey,
    artefact: Artefact,
    limits: Limits,
}

impl Bench {
    fn new() -> Self {
        let engine = wasmtime::Engine::default();
        Self {
            folder: tempfile::tempdir().unwrap(),
            key: CacheKey::new(&engine, b"a module"),
            artefact: Artefact::trusted(Encoding::Core, (0..=255).cycle().take(300).collect()),
            limits: crate::config::defaults::limits(),
        }
    }

    fn open(&self, most_bytes: u64) -> ModuleCache {
        ModuleCache::open(&self.folder.path().join("modules"), most_bytes).unwrap()
    }

    fn put(&self, cache: &ModuleCache, key: &CacheKey) {
        cache.put(key, &self.artefact, &self.limits, Some(&description()));
    }

    fn file(&self, cache: &ModuleCache) -> PathBuf {
        cache.path(&self.key).unwrap()
    }
}

fn description() -> Description {
    Description {
        text: "counts".to_owned(),
        input_schema: crate::wasi::schema::any_object(),
        read_only: true,
        destructive: false,
        idempotent: true,
        open_world: false,
    }
}

#[test]
fn what_was_put_in_comes_out_in_another_process_too() {
    let bench = Bench::new();
    bench.put(&bench.open(ROOM), &bench.key);
    let again = bench.open(ROOM);
    assert_eq!(again.artefact(&bench.key, Encoding::Core).as_ref(), Some(&bench.artefact));
    assert_eq!(again.description(&bench.key, &bench.limits), Some(description()));
}

#[test]
fn a_description_counts_only_under_the_limits_it_was_given_under() {
    let bench = Bench::new();
    let cache = bench.open(ROOM);
    bench.put(&cache, &bench.key);
    let narrower = Limits { memory_bytes: 1, ..crate::config::defaults::limits() };
    assert_eq!(cache.description(&bench.key, &narrower), None);
    assert!(cache.artefact(&bench.key, Encoding::Core).is_some());
}

#[test]
fn no_damaged_byte_gets_through() {
    let bench = Bench::new();
    let cache = bench.open(ROOM);
    bench.put(&cache, &bench.key);
    let whole = fs::read(bench.file(&cache)).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(bench.file(&cache), &damaged).unwrap();
        assert!(cache.artefact(&bench.key, Encoding::Core).is_none(), "byte {at} was damaged unnoticed");
        assert!(!bench.file(&cache).exists(), "the damaged file at byte {at} is still there");
    }
}

#[test]
fn no_shortened_file_gets_through() {
    let bench = Bench::new();
    let cache = bench.open(ROOM);
    bench.put(&cache, &bench.key);
    let whole = fs::read(bench.file(&cache)).unwrap();
    for length in (0..whole.len()).step_by(7) {
        fs::write(bench.file(&cache), &whole[..length]).unwrap();
        assert!(cache.artefact(&bench.key, Encoding::Core).is_none(), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn a_file_under_another_modules_name_is_not_used() {
    let bench = Bench::new();
    let cache = bench.open(ROOM);
    bench.put(&cache, &bench.key);
    let other = CacheKey::new(&wasmtime::Engine::default(), b"another module");
    fs::rename(bench.file(&cache), cache.path(&other).unwrap()).unwrap();
    assert!(cache.artefact(&other, Encoding::Core).is_none());
    assert_eq!(cache.description(&other, &bench.limits), None);
}

#[test]
fn another_engine_has_another_key() {
    let fuelled = wasmtime::Engine::new(wasmtime::Config::new().consume_fuel(true)).unwrap();
    let plain = wasmtime::Engine::default();
    assert_ne!(CacheKey::new(&fuelled, b"m").to_string(), CacheKey::new(&plain, b"m").to_string());
    assert_eq!(CacheKey::new(&plain, b"m").to_string(), CacheKey::new(&plain, b"m").to_string());
}

#[test]
fn a_folder_others_may_write_to_is_no_cache() {
    let bench = Bench::new();
    let folder = bench.folder.path().join("open");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = ModuleCache::open(&folder, ROOM).unwrap_err();
    assert!(refused.contains("chmod go-w"), "{refused}");
}

#[test]
fn a_file_in_the_folders_place_is_no_cache() {
    let bench = Bench::new();
    let folder = bench.folder.path().join("file");
    fs::write(&folder, "").unwrap();
    assert!(ModuleCache::open(&folder, ROOM).unwrap_err().contains("cannot be created"));
}

#[test]
fn the_least_recently_used_go_when_the_limit_is_passed() {
    let bench = Bench::new();
    let cache = bench.open(ROOM);
    let engine = wasmtime::Engine::default();
    let keys: Vec<_> = (0..3_u8).map(|name| CacheKey::new(&engine, &[name])).collect();
    for (age, key) in keys.iter().enumerate() {
        bench.put(&cache, key);
        let used = SystemTime::now() - Duration::from_secs(100 - 10 * age as u64);
        File::open(cache.path(key).unwrap()).unwrap().set_modified(used).unwrap();
    }
    // Being read makes the oldest the youngest.
    assert!(cache.artefact(&keys[0], Encoding::Core).is_some());
    let each = fs::metadata(cache.path(&keys[0]).unwrap()).unwrap().len();
    bench.put(&bench.open(3 * each), &bench.key);
    let left: Vec<_> = keys.iter().map(|key| cache.has(key)).collect();
    assert_eq!((left, cache.has(&bench.key)), (vec![true, false, true], true));
}

#[test]
fn what_was_never_finished_goes_after_an_hour() {
    let bench = Bench::new();
    let cache = bench.open(ROOM);
    let (old, young) =
        (bench.folder.path().join("modules/a.unfinished"), bench.folder.path().join("modules/b.unfinished"));
    for (path, age) in [(&old, 2 * ABANDONED), (&young, Duration::ZERO)] {
        fs::write(path, "half").unwrap();
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }
    bench.put(&cache, &bench.key);
    assert_eq!((old.exists(), young.exists()), (false, true));
}

#[test]
fn what_is_larger_than_the_whole_cache_is_not_kept() {
    let bench = Bench::new();
    let cache = bench.open(100);
    bench.put(&cache, &bench.key);
    assert!(!cache.has(&bench.key));
}

#[test]
fn many_writers_at_once_leave_a_whole_file() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| bench.put(&bench.open(ROOM), &bench.key));
        }
    });
    let cache = bench.open(ROOM);
    assert_eq!(cache.artefact(&bench.key, Encoding::Core).as_ref(), Some(&bench.artefact));
    assert_eq!(fs::read_dir(bench.folder.path().join("modules")).unwrap().count(), 1, "nothing unfinished is left");
}
