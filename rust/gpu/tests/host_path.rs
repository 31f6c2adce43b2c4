//! The host path on a driver without a GPU (`fake_driver.c`): order of calls, arguments, an error at
//! each call in turn, and nothing left behind.
//!
//! The driver is opened once a process and read from the environment, so each scenario runs in a
//! process of its own: this test binary, started again.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use hypercomp_gpu::memory::Buffer;
use hypercomp_gpu::{Device, Result, Stream};

/// What a scenario's process said.
struct Outcome {
    /// `ok`, or the error's kind and message.
    result: String,
    trace: Vec<String>,
    faults: String,
    leaks: usize,
}

/// The folder of the fake libcuda.so, compiled with these arguments.
fn driver(name: &str, arguments: &[&str]) -> PathBuf {
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

fn run_on(folder: &Path, scenario: &str, environment: &[(&str, &str)]) -> Outcome {
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

fn run(scenario: &str, environment: &[(&str, &str)]) -> Outcome {
    run_on(whole_driver(), scenario, environment)
}

/// What a child process does; run by the tests below, never by itself.
#[test]
#[ignore = "started by the other tests, in processes of their own"]
fn scenario() {
    let Ok(name) = std::env::var("SCENARIO") else {
        return;
    };
    let result = match name.as_str() {
        "count" => hypercomp_gpu::count().map(|_| ()),
        "buffers" => buffers(),
        other => panic!("no scenario {other}"),
    };
    hypercomp_gpu::close_all();
    match result {
        Ok(()) => println!("\nresult: ok"),
        Err(error) => println!("\nresult: {:?} {error}", error.kind()),
    }
    report();
}

/// Print what the fake driver has noted, if it is there.
fn report() {
    // SAFETY: the library is the fake driver or none; its functions are those of fake_driver.c.
    unsafe {
        let Ok(library) = libloading::Library::new("libcuda.so") else {
            return;
        };
        let text = |name: &str| -> String {
            let function = library.get::<unsafe extern "C" fn() -> *const c_char>(name.as_bytes());
            CStr::from_ptr(function.unwrap()())
                .to_string_lossy()
                .into_owned()
        };
        for line in text("fake_trace").lines() {
            println!("trace: {line}");
        }
        for line in text("fake_faults").lines() {
            println!("fault: {line}");
        }
        let leaks = library
            .get::<unsafe extern "C" fn() -> usize>(b"fake_leaks")
            .unwrap();
        println!("leaks: {}", leaks());
    }
}

fn buffers() -> Result<()> {
    let device = Device::open(0)?;
    let again = Device::open(0)?;
    assert!(std::sync::Arc::ptr_eq(&device, &again));
    let stream = Stream(0x77);
    let data: Vec<u32> = (0..1000).collect();
    let buffer = Buffer::holding(&device, &data, stream)?;
    let mut back = vec![0u32; 1000];
    buffer.read(&mut back, stream)?;
    assert_eq!(back, data);
    Buffer::holding::<u8>(&device, &[], stream)?;
    Ok(())
}

/// How often each call was made.
fn calls(trace: &[String]) -> BTreeMap<&str, usize> {
    let mut calls = BTreeMap::new();
    for line in trace.iter().filter(|line| !line.starts_with(' ')) {
        *calls.entry(line.split(' ').next().unwrap()).or_default() += 1;
    }
    calls
}

#[test]
fn no_library_is_a_named_error() {
    let nowhere = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nothing here");
    let outcome = run_on(&nowhere, "count", &[]);
    assert!(
        outcome.result.starts_with("MissingDriver no CUDA driver"),
        "{}",
        outcome.result
    );
}

#[test]
fn each_missing_symbol_is_a_named_error() {
    for symbol in hypercomp_gpu::SYMBOLS {
        let folder = driver(
            &format!("without {symbol}"),
            &[&format!("-D{symbol}=absent")],
        );
        let outcome = run_on(&folder, "count", &[]);
        let expected = format!("OldDriver the CUDA driver has no {symbol}: ");
        assert!(outcome.result.starts_with(&expected), "{}", outcome.result);
    }
}

#[test]
fn an_old_driver_is_a_named_error() {
    let outcome = run("count", &[("FAKE_CUDA_VERSION", "11080")]);
    assert!(
        outcome
            .result
            .starts_with("OldDriver the driver is of CUDA 11.8: 12.0"),
        "{}",
        outcome.result
    );
}

#[test]
fn an_unknown_architecture_is_a_named_error_and_gives_the_context_back() {
    let outcome = run("buffers", &[("FAKE_CUDA_DEVICES", "7.0")]);
    assert!(
        outcome
            .result
            .starts_with("Architecture Fake 7.0 has compute capability 7.0"),
        "{}",
        outcome.result
    );
    assert_eq!((outcome.leaks, outcome.faults.as_str()), (0, ""));
}

#[test]
fn no_device_is_a_named_error() {
    let outcome = run("buffers", &[("FAKE_CUDA_DEVICES", "")]);
    assert!(
        outcome
            .result
            .starts_with("NoDevice cuDeviceGet of device 0"),
        "{}",
        outcome.result
    );
}

#[test]
fn a_device_is_opened_once_and_closed_in_order() {
    let outcome = run("buffers", &[]);
    assert_eq!(
        (
            outcome.result.as_str(),
            outcome.leaks,
            outcome.faults.as_str()
        ),
        ("ok", 0, "")
    );
    let calls = calls(&outcome.trace);
    assert_eq!(calls["cuDevicePrimaryCtxRetain"], 1);
    assert_eq!(calls["cuModuleLoadDataEx"], 1);
    assert_eq!(calls["cuMemAlloc_v2"], 1);
    let last = &outcome.trace[outcome.trace.len() - 3..];
    assert_eq!(
        last,
        [
            "cuModuleUnload",
            "cuCtxPopCurrent_v2",
            "cuDevicePrimaryCtxRelease_v2 0"
        ]
    );
}

/// Calls that give something back: where they fail, that much stays.
const GIVING_BACK: [&str; 4] = [
    "cuMemFree_v2",
    "cuModuleUnload",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxPopCurrent_v2",
];

#[test]
fn an_error_at_any_call_is_named_and_leaves_nothing_behind() {
    for scenario in ["buffers"] {
        let clean = run(scenario, &[]);
        for (call, count) in calls(&clean.trace) {
            for nth in 1..=count {
                // An error that no bindings know.
                let order = format!("{call} {nth} 4321");
                let outcome = run(scenario, &[("FAKE_CUDA_FAIL", &order)]);
                if GIVING_BACK.contains(&call) || call == "cuThreadExchangeStreamCaptureMode" {
                    assert_eq!(outcome.result, "ok", "{order}");
                    continue;
                }
                let stem = call.trim_end_matches("_v2");
                let told = outcome.result.starts_with("Driver ") && outcome.result.contains(stem);
                // Where nothing can be given back because the context cannot be entered, the result
                // came before.
                assert!(
                    told || outcome.result == "ok",
                    "{order}: {}",
                    outcome.result
                );
                if told {
                    assert_eq!((outcome.leaks, outcome.faults.as_str()), (0, ""), "{order}");
                }
            }
        }
    }
}

#[test]
fn the_answers_that_users_meet_have_their_kinds() {
    for (order, kind) in [
        (
            "cuMemAlloc_v2 1 2",
            "OutOfMemory cuMemAlloc of 4000 bytes answered 2 CUDA_ERROR_OUT_OF_MEMORY",
        ),
        ("cuModuleLoadDataEx 1 200", "Image cuModuleLoadDataEx"),
        ("cuModuleLoadDataEx 1 222", "Image "),
        ("cuModuleLoadDataEx 1 221", "Image "),
        ("cuModuleLoadDataEx 1 2", "OutOfMemory "),
        ("cuModuleGetFunction 1 500", "Image cuModuleGetFunction of "),
        ("cuInit 1 100", "NoDevice cuInit"),
        ("cuInit 1 34", "MissingDriver cuInit"),
        ("cuInit 1 803", "OldDriver cuInit"),
        ("cuInit 1 3", "Driver cuInit"),
        ("cuDevicePrimaryCtxRetain 1 46", "NoDevice "),
        ("cuDevicePrimaryCtxRetain 1 2", "OutOfMemory "),
        ("cuStreamSynchronize 1 700", "Driver cuStreamSynchronize"),
    ] {
        let outcome = run("buffers", &[("FAKE_CUDA_FAIL", order)]);
        assert!(
            outcome.result.starts_with(kind),
            "{order}: {}",
            outcome.result
        );
        assert_eq!((outcome.leaks, outcome.faults.as_str()), (0, ""), "{order}");
    }
}
