use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

/// Of all seeds together.
const SEEDS_BYTES_MAX: u64 = 300 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_seed_passes_its_target() {
    for (name, target) in TARGETS {
        let seeds = entries(&folder().join(name));
        assert!(seeds.len() >= 5, "{name} has hardly any seeds");
        for path in seeds {
            let data = fs::read(&path).unwrap();
            let passed = catch_unwind(AssertUnwindSafe(|| target(&data)));
            assert!(passed.is_ok(), "the target `{name}` fails on {}", path.display());
        }
    }
}

#[test]
fn every_folder_and_every_binary_is_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let named = |folder: &Path| entries(folder).iter().map(stem).collect::<BTreeSet<_>>();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(named(&folder()), targets);
    assert_eq!(named(&root.join("dictionaries")), targets);
    let bins = named(&root.join("src/bin"));
    let bins: BTreeSet<&str> = bins.iter().map(|bin| bin.strip_prefix("fuzz-").unwrap()).collect();
    assert_eq!(bins, targets.iter().map(String::as_str).collect());
}

#[test]
fn seeds_stay_small() {
    let folders = entries(&folder());
    let files = folders.iter().flat_map(|folder| entries(folder));
    let bytes: u64 = files.map(|path| path.metadata().unwrap().len()).sum();
    assert!(bytes <= SEEDS_BYTES_MAX, "{bytes} bytes of seeds");
}
