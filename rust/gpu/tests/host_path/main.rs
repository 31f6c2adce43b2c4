//! The host path on a driver without a GPU (`fake_driver.c`): order of calls, arguments, an error at
//! each call in turn, and nothing left behind.
//!
//! The driver is opened once a process and read from the environment, so each scenario runs in a
//! process of its own: this test binary, started again.

#![cfg(target_os = "linux")]

mod fake;
mod scenarios;

use std::collections::BTreeMap;
use std::path::Path;

use fake::{driver, kernels, run, run_on};

/// What a child process does; run by the tests below, never by itself.
#[test]
#[ignore = "started by the other tests, in processes of their own"]
fn scenario() {
    if let Ok(name) = std::env::var("SCENARIO") {
        scenarios::play(&name);
    }
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
fn every_kind_of_tensor_comes_out_of_the_kernels_as_on_the_host() {
    let library = kernels().to_str().unwrap();
    let outcome = run("tensors", &[("FAKE_CUDA_KERNELS", library)]);
    assert_eq!(
        (
            outcome.result.as_str(),
            outcome.leaks,
            outcome.faults.as_str()
        ),
        ("ok", 0, "")
    );
    let launches = outcome
        .trace
        .iter()
        .filter(|line| line.starts_with("cuLaunchKernel"));
    assert!(launches.clone().all(|line| line.ends_with("stream=0x77")));
    assert!(launches.count() > 40);
}

#[test]
fn several_threads_and_devices_share_one_module_each() {
    let library = kernels().to_str().unwrap();
    let devices = ("FAKE_CUDA_DEVICES", "8.0 9.0");
    let outcome = run("threads", &[devices, ("FAKE_CUDA_KERNELS", library)]);
    assert_eq!(
        (
            outcome.result.as_str(),
            outcome.leaks,
            outcome.faults.as_str()
        ),
        ("ok", 0, "")
    );
    let calls = calls(&outcome.trace);
    assert_eq!(
        (
            calls["cuModuleLoadDataEx"],
            calls["cuDevicePrimaryCtxRetain"]
        ),
        (2, 2)
    );
}

#[test]
fn the_callers_context_stays_current() {
    let outcome = run("foreign", &[("FAKE_CUDA_DEVICES", "8.0 9.0")]);
    assert_eq!(
        (
            outcome.result.as_str(),
            outcome.leaks,
            outcome.faults.as_str()
        ),
        ("ok", 0, "")
    );
}

#[test]
fn calls_only_launch_so_that_graphs_can_capture_them() {
    let outcome = run("capture", &[]);
    let refused = "Capture a CUDA graph is being captured on this stream";
    assert!(outcome.result.starts_with(refused), "{}", outcome.result);
    assert_eq!((outcome.leaks, outcome.faults.as_str()), (0, ""));
    let give_back = outcome
        .trace
        .iter()
        .position(|line| line.starts_with("cuThreadExchange"));
    let calls = calls(&outcome.trace[..give_back.unwrap()]);
    let context = [
        "cuCtxGetCurrent",
        "cuCtxPushCurrent_v2",
        "cuCtxPopCurrent_v2",
    ];
    let put = [
        "cuLaunchKernel",
        "cuMemsetD8Async",
        "cuMemcpyDtoDAsync_v2",
        "cuStreamIsCapturing",
    ];
    for call in calls.keys() {
        assert!(context.contains(call) || put.contains(call), "{call}");
    }
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
    let closing = [
        "cuMemFree_v2",
        "cuModuleUnload",
        "cuDevicePrimaryCtxRelease_v2 0",
    ];
    let closed = outcome.trace.iter().map(String::as_str);
    let closed: Vec<&str> = closed.filter(|call| closing.contains(call)).collect();
    assert_eq!(closed, closing);
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
    for scenario in ["buffers", "launches"] {
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
