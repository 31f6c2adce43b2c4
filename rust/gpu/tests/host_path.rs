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

use half::{bf16, f16};
use hypercomp_core::Control;
use hypercomp_core::codec::element::Element;
use hypercomp_core::codec::tensor::{Codec, CompressedTensor, TrellisParams};
use hypercomp_core::codec::winding::WindingParams;
use hypercomp_gpu::memory::{Buffer, Plain};
use hypercomp_gpu::{Device, ErrorKind, Float, PreparedTensor, Result, Span, Stream, Vectors};

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
        "tensors" => tensors(),
        "launches" => launches(0),
        "threads" => threads(),
        "capture" => capture(),
        "foreign" => foreign(),
        other => panic!("no scenario {other}"),
    };
    hypercomp_gpu::close_all();
    match result {
        Ok(()) => println!("\nresult: ok"),
        Err(error) => println!("\nresult: {:?} {error}", error.kind()),
    }
    report();
}

/// Call `work` with the driver's library, if it is there.
fn with_driver(work: impl FnOnce(&libloading::Library)) {
    // SAFETY: the library is the fake driver or none.
    if let Ok(library) = unsafe { libloading::Library::new("libcuda.so") } {
        work(&library);
    }
}

/// Print what the fake driver has noted, if it is there.
fn report() {
    with_driver(|library| {
        // SAFETY: these are functions of fake_driver.c.
        let text = |name: &[u8]| unsafe {
            let function = library.get::<unsafe extern "C" fn() -> *const c_char>(name);
            CStr::from_ptr(function.unwrap()())
                .to_string_lossy()
                .into_owned()
        };
        for line in text(b"fake_trace").lines() {
            println!("trace: {line}");
        }
        for line in text(b"fake_faults").lines() {
            println!("fault: {line}");
        }
        // SAFETY: as above.
        let leaks = unsafe {
            library
                .get::<unsafe extern "C" fn() -> usize>(b"fake_leaks")
                .unwrap()()
        };
        println!("leaks: {leaks}");
    });
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

/// Bell-shaped numbers with some zeros and a few far out.
fn weights(count: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..count)
        .map(|i| match i % 97 {
            0 => 0.0,
            1 => 40.0 * uniform(),
            _ => (0..6).map(|_| uniform()).sum(),
        })
        .collect()
}

fn trellis(bits: f64) -> TrellisParams {
    TrellisParams::new(bits, 10, Some(7))
}

/// A tensor of every kind that there is, by name.
fn kinds() -> Vec<(&'static str, CompressedTensor)> {
    let kept_zeros = TrellisParams {
        keep_zeros: true,
        max_error: Some(1.0),
        ..trellis(3.5)
    };
    let plain = TrellisParams {
        seed: None,
        ..trellis(2.0)
    };
    let cases: [(&str, &[usize], Codec); 10] = [
        ("a matrix", &[33, 384], Codec::Trellis(trellis(4.0))),
        ("an odd matrix", &[9, 1000], Codec::Trellis(trellis(3.3))),
        ("cut rows", &[3, 3000], Codec::Trellis(trellis(2.5))),
        ("joined rows", &[70, 40], Codec::Trellis(trellis(4.0))),
        ("filters", &[8, 16, 3, 3], Codec::Trellis(trellis(5.0))),
        ("no transform", &[5, 256], Codec::Trellis(plain)),
        (
            "kept zeros and exact weights",
            &[20, 300],
            Codec::Trellis(kept_zeros),
        ),
        (
            "the published method",
            &[31, 77],
            Codec::Winding(WindingParams::default()),
        ),
        ("few weights", &[3], Codec::Trellis(trellis(4.0))),
        ("nothing", &[0, 5], Codec::Trellis(trellis(4.0))),
    ];
    let control = Control::new();
    let compress = |(name, shape, codec): (&'static str, &[usize], Codec)| {
        let count = shape.iter().product();
        let tensor = CompressedTensor::compress(&weights(count), shape, &codec, &control);
        (name, tensor.unwrap())
    };
    let mut kinds: Vec<_> = cases.into_iter().map(compress).collect();
    let zeros = Codec::Trellis(trellis(4.0));
    let zeros = CompressedTensor::compress(&[0f32; 60], &[6, 10], &zeros, &control);
    kinds.push(("zeros", zeros.unwrap()));
    kinds
}

const STREAM: Stream = Stream(0x77);

fn span(buffer: &Buffer) -> Span {
    Span {
        pointer: buffer.pointer(),
        bytes: buffer.bytes(),
    }
}

/// Whether kernels run, or are written down alone.
fn computes() -> bool {
    std::env::var_os("FAKE_CUDA_KERNELS").is_some()
}

/// Decode a range on the device, and compare the bits with those of the host.
fn decode<T: Element + PartialEq + std::fmt::Debug, B: Plain + Default>(
    name: &str,
    tensor: &CompressedTensor,
    prepared: &PreparedTensor,
    float: Float,
    range: std::ops::Range<usize>,
    bits: fn(B) -> T,
) -> Result<()> {
    let device = prepared.device();
    let out = Buffer::new(device, range.len() * size_of::<B>())?;
    let workspace = Buffer::new(device, prepared.decode_workspace(float))?;
    // SAFETY: both are memory of the device, and used by nothing else.
    unsafe {
        prepared.decode(float, range.clone(), span(&out), span(&workspace), STREAM)?;
    }
    let mut got = vec![B::default(); range.len()];
    out.read(&mut got, STREAM)?;
    if computes() {
        let mut expected = vec![T::default(); range.len()];
        tensor
            .decompress_range(range.clone(), &mut expected, &Control::new())
            .unwrap();
        let got: Vec<T> = got.into_iter().map(bits).collect();
        assert_eq!(got, expected, "{name} as {float:?}, {range:?}");
    }
    Ok(())
}

/// Multiply on the device, and compare with the decoded matrix in `f64`.
fn multiply(tensor: &CompressedTensor, prepared: &PreparedTensor, batch: usize) -> Result<()> {
    let &[rows, columns] = tensor.shape() else {
        return Ok(());
    };
    let device = prepared.device();
    // Vectors with room between them.
    let stride = columns + 3;
    let x = weights(batch * stride);
    let on_device = Buffer::holding(device, &x, STREAM)?;
    let out = Buffer::new(device, 4 * batch * (rows + 1))?;
    let workspace = Buffer::new(device, prepared.product_workspace(batch))?;
    let vectors = |buffer: &Buffer, stride: usize| Vectors {
        pointer: buffer.pointer(),
        stride: stride as u64,
    };
    let (from, to) = (vectors(&on_device, stride), vectors(&out, rows + 1));
    // SAFETY: all are memory of the device, and used by nothing else.
    unsafe {
        prepared.multiply(Float::F32, batch, from, to, span(&workspace), STREAM)?;
    }
    let mut got = vec![0f32; batch * (rows + 1)];
    out.read(&mut got, STREAM)?;
    if computes() {
        let mut matrix = vec![0f64; rows * columns];
        tensor.decompress(&mut matrix, &Control::new()).unwrap();
        for (vector, row) in (0..batch).flat_map(|v| (0..rows).map(move |r| (v, r))) {
            let x = &x[vector * stride..][..columns];
            let products = matrix[row * columns..].iter().zip(x);
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), (w, x)| {
                let product = w * f64::from(*x);
                (sum + product, size + product.abs())
            });
            let got = f64::from(got[vector * (rows + 1) + row]);
            assert!(
                (got - sum).abs() <= 1e-6 * size,
                "{got} for {sum}, sizes {size}"
            );
        }
    }
    Ok(())
}

fn tensors() -> Result<()> {
    let device = Device::open(0)?;
    for (name, tensor) in kinds() {
        let prepared = PreparedTensor::new(&device, &tensor, STREAM)?;
        let all = 0..tensor.len();
        decode::<f32, u32>(
            name,
            &tensor,
            &prepared,
            Float::F32,
            all.clone(),
            f32::from_bits,
        )?;
        decode::<f16, u16>(
            name,
            &tensor,
            &prepared,
            Float::F16,
            all.clone(),
            f16::from_bits,
        )?;
        decode::<bf16, u16>(name, &tensor, &prepared, Float::Bf16, all, bf16::from_bits)?;
        if let &[rows, columns] = tensor.shape()
            && rows > 4
        {
            let rows = rows / 3 * columns..(rows - 1) * columns;
            assert_eq!(prepared.decodes(&rows), name != "joined rows", "{name}");
            if prepared.decodes(&rows) {
                decode::<f32, u32>(name, &tensor, &prepared, Float::F32, rows, f32::from_bits)?;
            }
        }
        let multiplied = ["a matrix", "an odd matrix", "cut rows", "no transform"];
        assert_eq!(prepared.multiplies(), multiplied.contains(&name), "{name}");
        if prepared.multiplies() {
            for batch in [1, 3, 11] {
                multiply(&tensor, &prepared, batch)?;
            }
        }
    }
    Ok(())
}

/// One tensor with a mask, exact weights and all, and one that is multiplied by.
fn launches(ordinal: usize) -> Result<()> {
    let device = Device::open(ordinal)?;
    for (name, tensor) in kinds() {
        let prepared = match name {
            "a matrix"
            | "kept zeros and exact weights"
            | "the published method"
            | "few weights" => PreparedTensor::new(&device, &tensor, STREAM)?,
            _ => continue,
        };
        let all = 0..tensor.len();
        decode::<f16, u16>(name, &tensor, &prepared, Float::F16, all, f16::from_bits)?;
        if prepared.multiplies() {
            multiply(&tensor, &prepared, 2)?;
        }
    }
    Ok(())
}

fn threads() -> Result<()> {
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|i| scope.spawn(move || launches(i % 2)))
            .collect();
        handles
            .into_iter()
            .try_for_each(|handle| handle.join().unwrap())
    })
}

/// Prepared before a capture, tensors are used in it; nothing is prepared during one.
fn capture() -> Result<()> {
    let device = Device::open(0)?;
    let kinds = kinds();
    let prepare =
        |(_, tensor): &(_, CompressedTensor)| PreparedTensor::new(&device, tensor, STREAM);
    let prepared: Vec<_> = kinds.iter().map(prepare).collect::<Result<_>>()?;
    let mut memory = Vec::new();
    for (tensor, (name, _)) in prepared.iter().zip(&kinds) {
        if *name != "few weights" {
            tensor.warm(Float::F16, STREAM)?;
        }
        let out = Buffer::new(&device, 2 * tensor.len() + 32)?;
        let room = tensor
            .decode_workspace(Float::F16)
            .max(tensor.product_workspace(3));
        let x = Buffer::new(&device, 6 * tensor.shape().last().unwrap_or(&1))?;
        memory.push((out, Buffer::new(&device, room)?, x));
    }
    with_driver(|library| {
        // SAFETY: these are functions of fake_driver.c.
        unsafe {
            library
                .get::<unsafe extern "C" fn()>(b"fake_forget")
                .unwrap()();
            library
                .get::<unsafe extern "C" fn(usize)>(b"fake_capture")
                .unwrap()(STREAM.0);
        }
    });
    for ((tensor, (name, _)), (out, room, x)) in prepared.iter().zip(&kinds).zip(&memory) {
        let all = 0..tensor.len();
        // SAFETY: all are memory of the device, and used by nothing else.
        let decoded = unsafe { tensor.decode(Float::F16, all, span(out), span(room), STREAM) };
        if *name == "few weights" {
            assert_eq!(decoded.unwrap_err().kind(), ErrorKind::Capture);
            continue;
        }
        decoded?;
        if tensor.multiplies() {
            let columns = *tensor.shape().last().unwrap() as u64;
            let vectors = |buffer: &Buffer, stride| Vectors {
                pointer: buffer.pointer(),
                stride,
            };
            // SAFETY: as above.
            unsafe {
                let (x, y) = (vectors(x, columns), vectors(out, tensor.shape()[0] as u64));
                tensor.multiply(Float::F16, 3, x, y, span(room), STREAM)?;
            }
        }
    }
    // A collector may drop anything at any time, and other streams are nobody's business.
    drop(memory.pop());
    PreparedTensor::new(&device, &kinds[0].1, Stream(0x99))?;
    let refused = prepare(&kinds[0]).map(|_| ());
    // SAFETY: as above.
    with_driver(|library| unsafe {
        library
            .get::<unsafe extern "C" fn(usize)>(b"fake_capture")
            .unwrap()(0)
    });
    refused
}

/// Whatever context the caller has made current still is after a call.
fn foreign() -> Result<()> {
    type Place = *mut std::ffi::c_void;
    let mut theirs: Place = std::ptr::null_mut();
    hypercomp_gpu::count()?;
    with_driver(|library| {
        // SAFETY: the signatures are those of cuda.h.
        unsafe {
            let retain = library
                .get::<unsafe extern "C" fn(*mut Place, i32) -> i32>(b"cuDevicePrimaryCtxRetain");
            assert_eq!(retain.unwrap()(&mut theirs, 1), 0);
            let push = library.get::<unsafe extern "C" fn(Place) -> i32>(b"cuCtxPushCurrent_v2");
            assert_eq!(push.unwrap()(theirs), 0);
        }
    });
    launches(0)?;
    launches(1)?;
    hypercomp_gpu::close_all();
    with_driver(|library| {
        // SAFETY: as above.
        unsafe {
            let mut current: Place = std::ptr::null_mut();
            let pop = library.get::<unsafe extern "C" fn(*mut Place) -> i32>(b"cuCtxPopCurrent_v2");
            assert_eq!(pop.unwrap()(&mut current), 0);
            assert_eq!(current, theirs);
            let release =
                library.get::<unsafe extern "C" fn(i32) -> i32>(b"cuDevicePrimaryCtxRelease_v2");
            assert_eq!(release.unwrap()(1), 0);
        }
    });
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

/// The kernels compiled for the host.
fn kernels() -> &'static Path {
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
