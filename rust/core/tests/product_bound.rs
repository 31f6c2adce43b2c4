//! The bound of products with vectors of 16 bits, for weights and vectors of all kinds: those whose
//! levels are far from a Gaussian's, too.

use half::{bf16, f16};
use hypercomp_core::SimdLevel;
use hypercomp_core::codec::numbers::element::Element;
use hypercomp_core::codec::trellis::CodeSet;
use hypercomp_core::codec::{Codec, CompressedTensor, TrellisParams};
use proptest::prelude::*;

mod compressed;
mod layers;
use compressed::{bytes, codecs, compress, decompress, weights};
use layers::{layer, of};

/// A bound on the error of a product, relative to the norms of its factors: 50 dB.
const BOUND: f64 = 3.16e-3;

/// Values between 0 and 1 in a row.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    fn gaussian(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }

    /// The same divided by a uniform value: some are hundreds of times the others.
    fn heavy(&mut self) -> f32 {
        self.gaussian() / (self.uniform() + 1e-3)
    }
}

/// How the values of a row, or of a vector, are distributed.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Gaussian,
    Heavy,
    Sparse,
    OneHot,
    Constant,
    Signs,
    Cubes,
    /// A run of values that are not zero; the rest is so many times smaller.
    Concentrated(f32),
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Gaussian),
        Just(Kind::Heavy),
        Just(Kind::Sparse),
        Just(Kind::OneHot),
        Just(Kind::Constant),
        Just(Kind::Signs),
        Just(Kind::Cubes),
        prop_oneof![Just(0.0f32), Just(0.003), Just(0.1)].prop_map(Kind::Concentrated),
    ]
}

fn row(kind: Kind, length: usize, random: &mut Random) -> Vec<f32> {
    let hot = (random.uniform() * length as f32) as usize;
    let size = random.gaussian();
    let run = (length / 8).max(1);
    if let Kind::Cubes = kind {
        return weights(&[length], random.0);
    }
    (0..length)
        .map(|i| match kind {
            Kind::Gaussian => random.gaussian(),
            Kind::Heavy => random.heavy(),
            Kind::Sparse if random.uniform() < 0.95 => 0.0,
            Kind::Sparse => random.gaussian(),
            Kind::OneHot if i == hot => size,
            Kind::OneHot => 0.0,
            Kind::Constant => size,
            Kind::Signs => size * (random.uniform() - 0.5).signum(),
            Kind::Concentrated(_) if (hot / run * run..hot / run * run + run).contains(&i) => {
                random.gaussian()
            }
            Kind::Concentrated(rest) => rest * random.gaussian(),
            Kind::Cubes => unreachable!("they are drawn above"),
        })
        .collect()
}

fn rows(kind: Kind, count: usize, length: usize, random: &mut Random) -> Vec<f32> {
    (0..count).flat_map(|_| row(kind, length, random)).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Whether results are within the bound of the decoded matrix's, and the same on every unit.
fn within_bound<T: Element>(
    tensor: &CompressedTensor,
    x: &[f32],
    transposed: bool,
    rounding: f64,
) -> Result<(), TestCaseError> {
    let [rows, columns] = tensor.shape()[..] else {
        panic!("a matrix")
    };
    let x: Vec<T> = of(x);
    let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
    let w: Vec<f64> = decompress(tensor);
    let y = layer(tensor, SimdLevel::detected(), &x, 1, None, transposed);
    for simd in SimdLevel::available() {
        // A tensor of its own: which rows are multiplied in integers is decided anew on each unit.
        let fresh = CompressedTensor::from_bytes(&tensor.to_bytes()).unwrap();
        prop_assert_eq!(
            bytes(&layer(&fresh, simd, &x, 1, None, transposed)),
            bytes(&y)
        );
    }
    for (i, y) in y.iter().enumerate() {
        let factors: Vec<f64> = match transposed {
            false => w[i * columns..(i + 1) * columns].to_vec(),
            true => (0..rows).map(|r| w[r * columns + i]).collect(),
        };
        let exact: f64 = factors.iter().zip(&wide).map(|(w, x)| w * x).sum();
        // Transposed, it is transformed back as a whole.
        let size = norm(&wide) * if transposed { norm(&w) } else { norm(&factors) };
        let bound = BOUND * size + rounding * (exact.abs() + BOUND * size) + 1e-7;
        let miss = (y.to_f64() - exact).abs();
        // Beyond the type a result is infinite.
        let beyond = exact.abs() + bound > 65_000.0 && !y.to_f64().is_finite();
        prop_assert!(miss <= bound || beyond, "{miss} of {bound}, result {i}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_product_is_within_the_bound_whatever_the_weights_and_the_vector(
        shape in (
            1usize..6,
            prop_oneof![
                128usize..1500,
                prop_oneof![Just(128usize), Just(384), Just(640), Just(1152), Just(2176), Just(4096)],
            ],
        ),
        codec in prop_oneof![
            4 => (
                prop_oneof![1.0f64..4.5, Just(1.0), Just(2.0), Just(5.0)],
                prop_oneof![Just(8u32), Just(10)],
                any::<Option<u64>>(),
                prop_oneof![Just(CodeSet::FIRST), Just(CodeSet::SECOND)],
            ).prop_map(|(bits, window, seed, code_set)| {
                Codec::Trellis(TrellisParams {
                    code_set,
                    ..TrellisParams::new(bits, window, seed)
                })
            }),
            1 => codecs(),
        ],
        of_weights in kinds(),
        vector in kinds(),
        drawn: u64,
    ) {
        let mut random = Random(drawn);
        let shape = [shape.0, shape.1];
        let w = rows(of_weights, shape[0], shape[1], &mut random);
        let tensor = compress(&w, &shape, &codec);
        let decoded: Vec<f64> = decompress(&tensor);
        for transposed in [false, true] {
            let inputs = shape[usize::from(!transposed)];
            let mut x = row(vector, inputs, &mut random);
            within_bound::<f16>(&tensor, &x, transposed, 1.0 / 2048.0)?;
            within_bound::<bf16>(&tensor, &x, transposed, 1.0 / 256.0)?;
            // The vector that is most like a row, or a column: where errors add up.
            let most = decoded.iter().fold(1e-30, |most: f64, w| most.max(w.abs()));
            for (i, x) in x.iter_mut().enumerate() {
                *x = (decoded[if transposed { i * shape[1] } else { i }] / most) as f32;
            }
            within_bound::<f16>(&tensor, &x, transposed, 1.0 / 2048.0)?;
            within_bound::<bf16>(&tensor, &x, transposed, 1.0 / 256.0)?;
        }
    }
}

#[test]
fn a_row_that_is_next_to_zero_but_for_one_weight_is_multiplied_in_floats() {
    // −42 dB and worse in integers; exact but for the rounding of the result in floats.
    for (seed, columns) in [(None, 512), (None, 130), (Some(3), 130), (Some(3), 640)] {
        let mut w = vec![0.0; 16 * columns];
        for r in 0..16 {
            w[r * columns + columns - 1 - r % 2] = 1.0 + r as f32;
        }
        for bits in [1.0, 1.5, 2.0, 3.0] {
            let codec = Codec::Trellis(TrellisParams::new(bits, 10, seed));
            let tensor = compress(&w, &[16, columns], &codec);
            let decoded: Vec<f64> = decompress(&tensor);
            for r in 0..16 {
                let row = &decoded[r * columns..(r + 1) * columns];
                let sign = |w: &f64| if *w < 0.0 { -1.0f32 } else { 1.0 };
                let x: Vec<f32> = row.iter().map(sign).collect();
                within_bound::<f16>(&tensor, &x, false, 1.0 / 2048.0).unwrap();
            }
        }
    }
}
