//! The winding codec against the published program's own codes (`tests/golden/README.md`).

use hypercomp_core::Control;
use hypercomp_core::codec::{Winding, WindingParams};
use npz::Npz;

const CASES: [&str; 5] = [
    "gauss_small",
    "gauss_wide",
    "outlier_odd",
    "mobilenet_setting",
    "inner_only",
];

/// A golden tensor, what the published program made of it, and what we make of it.
struct Case {
    name: &'static str,
    weights: Vec<f32>,
    codes: Vec<u64>,
    decoded: Vec<f32>,
    ours: Winding,
}

impl Case {
    fn read(npz: &Npz, name: &'static str) -> Self {
        let array = |key: &str| npz.array(&format!("{name}/{key}"));
        let weights = array("weights").f32();
        let params = WindingParams {
            side: array("side").f64()[0],
            samples: array("samples").i64()[0] as u32,
            class_max: array("class_max").i64()[0] as u32,
            ..WindingParams::default()
        };
        Self {
            name,
            ours: Winding::encode(&weights, &params, &Control::new()).unwrap(),
            weights,
            codes: array("codes").i64().iter().map(|c| *c as u64).collect(),
            decoded: array("decoded").f32(),
        }
    }

    fn all() -> Vec<Self> {
        let npz = Npz::open(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/reference_winding.npz"
        ));
        CASES.iter().map(|name| Self::read(&npz, name)).collect()
    }

    fn our_decoded(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.ours.len()];
        self.ours.decode(&mut out, &Control::new()).unwrap();
        out
    }

    fn squared_error(&self, decoded: &[f32]) -> f64 {
        let pairs = self.weights.iter().zip(decoded);
        pairs.map(|(w, d)| f64::from(w - d).powi(2)).sum()
    }

    /// How far the sample of `code` lies from pair number `pair` pulled into the square, by the
    /// formulas of the paper.
    fn distance(&self, pair: usize, code: u64) -> f64 {
        let params = self.ours.params();
        let (samples, side) = (f64::from(params.samples), params.side);
        let centre = self.ours.center();
        let category = (code / (samples as u64 + 1)) as f64;
        let reach: f64 = (0..2)
            .map(|i| f64::from(self.ours.farthest()[i]) - f64::from(centre[i]))
            .map(|x| x * x)
            .sum::<f64>()
            .sqrt();
        let radius = match self.ours.classes() {
            0 => side / 2.0,
            m => side / 2.0 + category * (reach - side / 2.0) / f64::from(m),
        };
        let m = samples.sqrt().ceil();
        let index = code % (samples as u64 + 1);
        let squared: f64 = (0..2)
            .map(|i| {
                let mean = || {
                    self.weights.iter().map(|w| f64::from(*w)).sum::<f64>()
                        / self.weights.len() as f64
                };
                let weight = self
                    .weights
                    .get(2 * pair + i)
                    .map_or_else(mean, |w| (*w).into());
                let pulled = (weight - f64::from(centre[i])) * (side / 2.0) / radius;
                let turns = (index.wrapping_sub(1) as f64) * m.powi(i as i32) % (m * m);
                let sample = if index == 0 {
                    0.0
                } else {
                    turns * side / (m * m) - side / 2.0
                };
                (pulled - sample).powi(2)
            })
            .sum();
        squared.sqrt()
    }
}

#[test]
fn codes_are_the_published_programs() {
    for case in Case::all() {
        let same = case
            .ours
            .codes()
            .zip(&case.codes)
            .filter(|(a, b)| a == *b)
            .count();
        let share = same as f64 / case.codes.len() as f64;
        println!(
            "{}: {:.2} % of the codes are the same",
            case.name,
            100.0 * share
        );
        assert_eq!(case.ours.codes().count(), case.codes.len());
        assert!(share >= 0.996, "{}: {share}", case.name);
    }
}

#[test]
fn the_error_is_the_published_programs() {
    for case in Case::all() {
        let ours = case.our_decoded();
        let ratio = case.squared_error(&ours) / case.squared_error(&case.decoded);
        println!("{}: squared error {ratio:.7} of the published", case.name);
        assert!((ratio - 1.0).abs() <= 0.013, "{}: {ratio}", case.name);
        for ((our, code), (golden, golden_code)) in ours
            .chunks(2)
            .zip(case.ours.codes())
            .zip(case.decoded.chunks(2).zip(&case.codes))
            .filter(|((_, ours), (_, golden))| ours == *golden)
        {
            // The published program adds and divides in `f32`: four roundings of values below 1.
            let near = our
                .iter()
                .zip(golden)
                .all(|(a, b)| (a - b).abs() <= 4.0 * f32::EPSILON);
            assert!(
                near,
                "{}: {our:?} {golden:?} {code} {golden_code}",
                case.name
            );
        }
    }
}

#[test]
fn centre_farthest_and_categories_are_the_published_programs() {
    let npz = Npz::open(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/reference_winding.npz"
    ));
    for case in Case::all() {
        let array = |key: &str| npz.array(&format!("{}/{key}", case.name));
        assert_eq!(
            i64::from(case.ours.classes()),
            array("classes").i64()[0],
            "{}",
            case.name
        );
        assert_eq!(
            case.ours.farthest(),
            array("farthest").f32(),
            "{}",
            case.name
        );
        for (our, golden) in case.ours.center().iter().zip(array("center").f32()) {
            // A mean of values below 1, summed in `f32` there and in `f64` here.
            assert!(
                (our - golden).abs() <= f32::EPSILON,
                "{}: {our} {golden}",
                case.name
            );
        }
    }
}

/// Where a code differs, so does the sample, but not its distance beyond the rounding of `f32`
/// (and where it is the same, so is the distance): the published program computes samples and
/// pairs, of magnitude below 1, in a handful of `f32` operations, each within 2⁻²⁴, so two
/// distances that it takes for equal differ by less than 8·2⁻²⁴. Ours are the nearest in `f64`.
#[test]
fn our_samples_are_never_farther_and_theirs_only_by_rounding() {
    for case in Case::all() {
        for (pair, (our, golden)) in case.ours.codes().zip(&case.codes).enumerate() {
            let points = u64::from(case.ours.params().samples) + 1;
            assert_eq!(our / points, golden / points, "{} pair {pair}", case.name);
            let excess = case.distance(pair, *golden) - case.distance(pair, our);
            assert!(
                (-1e-15..=8.0 * 2f64.powi(-24)).contains(&excess),
                "{} pair {pair}: codes {our} and {golden}, {excess:e} farther",
                case.name
            );
        }
    }
}

/// The check above can fail: any other sample is farther by more than rounding.
#[test]
fn a_wrong_sample_would_be_noticed() {
    for case in Case::all() {
        let code = case.ours.codes().next().unwrap();
        let points = u64::from(case.ours.params().samples) + 1;
        let near = case.distance(0, code) + 8.0 * 2f64.powi(-24);
        let wrong = (0..points)
            .map(|i| i + code / points * points)
            .filter(|c| *c != code);
        assert!(
            wrong.map(|c| case.distance(0, c)).all(|d| d > near),
            "{}",
            case.name
        );
    }
}

/// Just enough of `.npz` for the golden files: stored (not deflated) members, little-endian arrays.
mod npz {
    use std::collections::HashMap;

    pub struct Npz {
        members: HashMap<String, Vec<u8>>,
    }

    pub struct Array {
        header: String,
        data: Vec<u8>,
    }

    /// An unsigned little-endian number of `N` bytes.
    fn number<const N: usize>(bytes: &[u8], at: usize) -> usize {
        bytes[at..at + N]
            .iter()
            .rev()
            .fold(0, |n, byte| n << 8 | usize::from(*byte))
    }

    impl Npz {
        pub fn open(path: &str) -> Self {
            let file = std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"));
            let mut members = HashMap::new();
            let mut at = 0;
            // Local file headers, APPNOTE 4.3.7, one after the other up to the central directory.
            while file[at..].starts_with(b"PK\x03\x04") {
                assert_eq!(number::<2>(&file, at + 8), 0, "{path}: a deflated member");
                let size = number::<4>(&file, at + 18);
                let name = at + 30;
                let name_end = name + number::<2>(&file, at + 26);
                let data = name_end + number::<2>(&file, at + 28);
                let key = String::from_utf8(file[name..name_end].to_vec()).unwrap();
                at = data + size;
                members.insert(key, file[data..at].to_vec());
            }
            Self { members }
        }

        /// The array that `numpy.load(...)[key]` gives.
        pub fn array(&self, key: &str) -> Array {
            let npy = self
                .members
                .get(&format!("{key}.npy"))
                .unwrap_or_else(|| panic!("no {key}"));
            assert!(npy.starts_with(b"\x93NUMPY\x01"), "{key}");
            let data = 10 + number::<2>(npy, 8);
            Array {
                header: String::from_utf8_lossy(&npy[10..data]).into_owned(),
                data: npy[data..].to_vec(),
            }
        }
    }

    impl Array {
        fn values<const N: usize, T>(&self, dtype: &str, from: fn([u8; N]) -> T) -> Vec<T> {
            assert!(
                self.header.contains(&format!("'descr': '{dtype}'")),
                "{}",
                self.header
            );
            assert!(
                self.header.contains("'fortran_order': False"),
                "{}",
                self.header
            );
            self.data
                .as_chunks()
                .0
                .iter()
                .map(|bytes| from(*bytes))
                .collect()
        }

        pub fn f32(&self) -> Vec<f32> {
            self.values("<f4", f32::from_le_bytes)
        }

        pub fn f64(&self) -> Vec<f64> {
            self.values("<f8", f64::from_le_bytes)
        }

        pub fn i64(&self) -> Vec<i64> {
            self.values("<i8", i64::from_le_bytes)
        }
    }
}
