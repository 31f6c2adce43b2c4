//! What child processes do on the fake driver. Every scenario ends with all devices closed.

use std::ffi::{CStr, c_char};

use half::{bf16, f16};
use hypercomp_core::Control;
use hypercomp_core::codec::WindingParams;
use hypercomp_core::codec::numbers::element::Element;
use hypercomp_core::codec::trellis::CodeSet;
use hypercomp_core::codec::{Codec, CompressedTensor, TrellisParams};
use hypercomp_gpu::memory::{Buffer, Plain};
use hypercomp_gpu::{Device, ErrorKind, Float, PreparedTensor, Result, Span, Stream, Vectors};

/// Play a scenario, and print its result and what the driver has noted.
pub fn play(name: &str) {
    let result = match name {
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
    let in_tiles = |bits| TrellisParams {
        code_set: CodeSet::SECOND,
        ..trellis(bits)
    };
    let cases: [(&str, &[usize], Codec); 12] = [
        ("a matrix", &[33, 384], Codec::Trellis(trellis(4.0))),
        ("an odd matrix", &[9, 1000], Codec::Trellis(trellis(3.3))),
        ("cut rows", &[3, 3000], Codec::Trellis(trellis(2.5))),
        ("tiles", &[33, 512], Codec::Trellis(in_tiles(3.5))),
        ("odd tiles", &[9, 1000], Codec::Trellis(in_tiles(2.3))),
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

/// To the bits of a float, and back.
type BitsOf<T, B> = (fn(T) -> B, fn(B) -> T);

/// Multiply on the device by vectors of a type, and compare with the decoded matrix in `f64`.
fn multiply<T: Element, B: Plain + Default>(
    tensor: &CompressedTensor,
    prepared: &PreparedTensor,
    (float, bound): (Float, f64),
    batch: usize,
    (to_bits, from_bits): BitsOf<T, B>,
) -> Result<()> {
    let &[rows, columns] = tensor.shape() else {
        return Ok(());
    };
    let device = prepared.device();
    // Vectors with room between them.
    let stride = columns + 3;
    let x: Vec<T> = weights(batch * stride)
        .iter()
        .map(|w| T::from_f64((*w).into()))
        .collect();
    let bits: Vec<B> = x.iter().map(|x| to_bits(*x)).collect();
    let on_device = Buffer::holding(device, &bits, STREAM)?;
    let out = Buffer::new(device, batch * (rows + 1) * size_of::<B>())?;
    let workspace = Buffer::new(device, prepared.product_workspace(batch))?;
    let vectors = |buffer: &Buffer, stride: usize| Vectors {
        pointer: buffer.pointer(),
        stride: stride as u64,
    };
    let (from, to) = (vectors(&on_device, stride), vectors(&out, rows + 1));
    // SAFETY: all are memory of the device, and used by nothing else.
    unsafe {
        prepared.multiply(float, batch, from, to, span(&workspace), STREAM)?;
    }
    let mut got = vec![B::default(); batch * (rows + 1)];
    out.read(&mut got, STREAM)?;
    if !computes() {
        return Ok(());
    }
    let mut matrix = vec![0f64; rows * columns];
    tensor.decompress(&mut matrix, &Control::new()).unwrap();
    for (vector, row) in (0..batch).flat_map(|v| (0..rows).map(move |r| (v, r))) {
        let x = &x[vector * stride..][..columns];
        let products = matrix[row * columns..].iter().zip(x);
        let (sum, size) = products.fold((0.0, 0.0), |(sum, size), (w, x)| {
            let product = w * x.to_f64();
            (sum + product, size + product.abs())
        });
        let got = from_bits(got[vector * (rows + 1) + row]).to_f64();
        assert!(
            (got - sum).abs() <= bound * size,
            "{float:?}: {got} for {sum}, sizes {size}"
        );
    }
    Ok(())
}

/// The same for every type. Where a table of offsets is used, products are as exact as weights of
/// bfloat16 are.
fn multiply_all(tensor: &CompressedTensor, prepared: &PreparedTensor, batch: usize) -> Result<()> {
    let bits: BitsOf<f32, u32> = (f32::to_bits, f32::from_bits);
    multiply(tensor, prepared, (Float::F32, 1e-6), batch, bits)?;
    let bits: BitsOf<f16, u16> = (f16::to_bits, f16::from_bits);
    multiply(tensor, prepared, (Float::F16, 2e-3), batch, bits)?;
    let bits: BitsOf<bf16, u16> = (bf16::to_bits, bf16::from_bits);
    multiply(tensor, prepared, (Float::Bf16, 4e-3), batch, bits)
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
                multiply_all(&tensor, &prepared, batch)?;
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
            multiply_all(&tensor, &prepared, 2)?;
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
