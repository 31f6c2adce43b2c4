//! This crate and `cuda/launch.h` say the same: offsets of fields, tiles, slots, sizes of images.

#![cfg(target_os = "linux")]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use hypercomp_gpu::Float;
use hypercomp_gpu::abi::{self, Matrix, OFFSETS};

/// Lengths of streams, with and without a block that lies over others.
const LENGTHS: [u32; 17] = [
    0, 1, 2, 127, 128, 129, 384, 540, 576, 684, 1000, 1023, 1024, 1535, 3000, 10240, 16384,
];

const MATRICES: [(u32, u32, u32, u32); 5] = [
    (4096, 1, 4096, 1),
    (20_000, 2, 10_240, 3),
    (384, 1, 384, 2),
    (3000, 3, 1024, 8),
    (1000, 1, 1000, 5),
];

/// What a C++ program that includes the header prints, for this body of `main`.
fn compiled(body: &str) -> Vec<u64> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join("launch_h.cc"), folder.join("launch_h"));
    let header = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cuda/launch.h");
    let text = format!(
        "#include \"{header}\"\n#include <cstddef>\n#include <cstdio>\nint main() {{\n{body}}}\n"
    );
    std::fs::write(&source, text).unwrap();
    let built = Command::new("c++")
        .args(["-std=c++17", "-o"])
        .args([&program, &source])
        .status();
    assert!(built.expect("a C++ compiler").success());
    let output = Command::new(&program).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn the_host_and_the_kernels_agree() {
    let mut body = String::new();
    let mut ours = Vec::new();
    let mut compare = |expression: String, value: u64| {
        writeln!(
            body,
            "std::printf(\"%llu\\n\", (unsigned long long)({expression}));"
        )
        .unwrap();
        ours.push((expression, value));
    };
    for (structure, field, offset) in OFFSETS {
        compare(format!("offsetof({structure}, {field})"), *offset as u64);
    }
    for (name, float) in [
        ("F32", Float::F32),
        ("F16", Float::F16),
        ("BF16", Float::Bf16),
    ] {
        compare(format!("HC_{name}"), float.number().into());
    }
    compare("HC_TILE".into(), abi::TILE.into());
    compare("HC_STEP".into(), abi::STEP);
    compare("HC_TILE_LEVELS".into(), abi::TILE_LEVELS as u64);
    compare("HC_LEVEL_BYTES".into(), abi::LEVEL_BYTES as u64);
    compare("HC_ROWS".into(), abi::ROWS.into());
    for n in LENGTHS {
        compare(format!("hc_tiles({n})"), abi::tiles(n).into());
    }
    for batch in 1..=8 {
        compare(format!("hc_slots({batch})"), abi::slots(batch).into());
    }
    for (window, half_bits) in [8, 10, 12, 16]
        .into_iter()
        .flat_map(|w| (0..=16).map(move |h| (w, h)))
    {
        let words = abi::table_words(window, half_bits) as u64;
        compare(format!("hc_table_words({window}, {half_bits})"), words);
    }
    for (columns, pieces, piece, batch) in MATRICES {
        let matrix = Matrix {
            rows: 1,
            columns,
            pieces,
            piece,
            batch,
        };
        let call = format!("hc_image_floats({columns}, {pieces}, {piece}, {batch})");
        compare(call, matrix.image_floats());
    }
    let theirs = compiled(&body);
    assert_eq!(theirs.len(), ours.len());
    for ((expression, ours), theirs) in ours.iter().zip(theirs) {
        assert_eq!(*ours, theirs, "{expression}");
    }
}
