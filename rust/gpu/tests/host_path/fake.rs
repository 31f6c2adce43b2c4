//! The fake driver: compiled, and scenarios run on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What a scenario's process said.
pub struct Outcome {
    /// `ok`, or the error's kind and message.
    pub result: String,
    pub trace: Vec<String>,
    pub faults: String,
    pub leaks: usize,
}

/// The folder of the fake libcuda.so, compiled with these arguments.
pub fn driver(name: &str, arguments: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_driver.c");
    let built = Command::new("cc")
        .args([
            "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o",
        ])
        .arg(folder.join("libcuda.so"))
        .arg(source)
        .args(arguments)
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler, which Rust needs to link too");
    assert!(built.success());
    folder
}

fn whole_driver() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| driver("driver", &[]))
}

/// Run a scenario on the driver in this folder.
pub fn run_on(folder: &Path, scenario: &str, environment: &[(&str, &str)]) -> Outcome {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["scenario", "--exact", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", folder)
        .env("SCENARIO", scenario)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !told.contains("panicked"),
        "{scenario} {environment:?}: {said}{told}"
    );
    let lines = |key: &str| -> Vec<String> {
        let of_key = said.lines().filter_map(|line| line.strip_prefix(key));
        of_key.map(str::to_owned).collect()
    };
    Outcome {
        result: lines("result: ").concat(),
        trace: lines("trace: "),
        faults: lines("fault: ").join("\n"),
        leaks: lines("leaks: ").concat().parse().unwrap_or(0),
    }
}

/// Run a scenario on the whole driver.
pub fn run(scenario: &str, environment: &[(&str, &str)]) -> Outcome {
    run_on(whole_driver(), scenario, environment)
}

/// The kernels compiled for the host.
pub fn kernels() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libkernels.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_kernels.cc");
        let built = Command::new("c++")
            .args([
                "-std=c++20",
                "-shared",
                "-fPIC",
                "-O2",
                "-march=native",
                "-ffp-contract=off",
            ])
            .args(["-Wno-unknown-pragmas", "-o"])
            .args([&library, Path::new(source)])
            .status();
        assert!(built.expect("a C++ compiler").success());
        library
    })
}
