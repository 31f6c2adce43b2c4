//! The search against a scan of every sample, and the samples against the formula of the paper.

use proptest::prelude::*;

use super::*;

/// The points by the formula of the paper: index 0 the centre, then (θ, θ·m, …) mod m^K.
fn points<const K: usize>(samples: u32) -> Vec<[f64; K]> {
    let m = (1u64..)
        .find(|m| m.pow(K as u32) >= u64::from(samples))
        .unwrap();
    let span = m.pow(K as u32);
    let sample = |theta: u64| std::array::from_fn(|i| (theta * m.pow(i as u32) % span) as f64);
    std::iter::once([span as f64 / 2.0; K])
        .chain((0..samples.into()).map(sample))
        .collect()
}

/// The lowest index among the least computed distances, last coordinate first.
fn scan<const K: usize>(points: &[[f64; K]], sought: &[f64; K]) -> u32 {
    let distance = |point: &[f64; K]| {
        (0..K).rev().fold(0.0, |sum, i| {
            let gap = sought[i] - point[i];
            sum + gap * gap
        })
    };
    let mut best = (f64::INFINITY, 0);
    for (index, point) in points.iter().enumerate() {
        let distance = distance(point);
        if distance < best.0 {
            best = (distance, index);
        }
    }
    best.1 as u32
}

/// Search and scan agree at every point of `shares`, which are fractions of the cube's side.
fn agree<const K: usize>(samples: u32, shares: &[[f64; 4]]) -> Result<(), TestCaseError> {
    let orbit = Orbit::<K>::new(samples);
    let points = points::<K>(samples);
    let span = 2.0 * orbit.half();
    for share in shares {
        // As it is, and rounded to half units: there the arithmetic is exact and ties abound.
        for sought in [
            std::array::from_fn(|i| share[i] * span),
            std::array::from_fn(|i| (share[i] * span * 2.0).round() / 2.0),
        ] {
            let found = orbit.nearest(&sought);
            prop_assert_eq!(
                found,
                scan(&points, &sought),
                "U {} at {:?}",
                samples,
                sought
            );
            prop_assert_eq!(orbit.point(found), points[found as usize]);
        }
    }
    Ok(())
}

fn agree_for_every_group(samples: u32, shares: &[[f64; 4]]) -> Result<(), TestCaseError> {
    agree::<1>(samples, shares)?;
    agree::<2>(samples, shares)?;
    agree::<3>(samples, shares)?;
    agree::<4>(samples, shares)
}

/// Mostly inside the cube, on its faces, and somewhat outside.
fn shares() -> impl Strategy<Value = [f64; 4]> {
    prop::array::uniform4(prop_oneof![
        6 => 0.0f64..=1.0,
        1 => Just(0.0),
        1 => Just(0.5),
        1 => Just(1.0),
        1 => -2.0f64..3.0,
    ])
}

proptest! {
    #[test]
    fn the_search_finds_what_a_scan_finds(
        samples in prop_oneof![1u32..40, 1u32..3000, Just(1600), Just(1601), Just(6561)],
        shares in prop::collection::vec(shares(), 1..40),
    ) {
        agree_for_every_group(samples, &shares)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn also_among_many_samples(
        samples in prop_oneof![Just(1u32 << 16), (1u32 << 16) - 300..(1 << 16) + 300],
        shares in prop::collection::vec(shares(), 20),
    ) {
        agree_for_every_group(samples, &shares)?;
    }
}

/// Every point of a small cube's half-unit grid, ties and faces included, in integer arithmetic.
#[test]
fn exact_on_every_half_unit_of_small_cubes() {
    for samples in [1u32, 2, 3, 5, 9, 13, 16, 25, 26, 49] {
        let orbit = Orbit::<2>::new(samples);
        let doubled: Vec<[i64; 2]> = points::<2>(samples)
            .iter()
            .map(|p| p.map(|x| (2.0 * x) as i64))
            .collect();
        let span = (4.0 * orbit.half()) as i64;
        for x in -3..=span + 3 {
            for y in -3..=span + 3 {
                let squared = |p: &[i64; 2]| (p[0] - x).pow(2) + (p[1] - y).pow(2);
                let least = doubled.iter().map(squared).min().unwrap();
                let first = doubled.iter().position(|p| squared(p) == least).unwrap();
                let found = orbit.nearest(&[x as f64 / 2.0, y as f64 / 2.0]);
                assert_eq!(found as usize, first, "U {samples}, ({x}, {y})/2");
            }
        }
    }
}

#[test]
fn the_largest_orbit_finds_its_own_points() {
    fn check<const K: usize>() {
        let orbit = Orbit::<K>::new(1 << 24);
        for index in (0..1 << 24).step_by(99_991).chain([1 << 24]) {
            assert_eq!(orbit.nearest(&orbit.point(index)), index, "K {K}");
        }
    }
    check::<2>();
    check::<3>();
    check::<4>();
    // For K = 1 the centre is sample 2²³ as well, which has the higher index; none is skipped.
    check::<1>();
}

#[test]
fn the_base_is_the_rounded_up_root() {
    for k in 1..=4u32 {
        for samples in (1..5000).chain([(1 << 24) - 1, 1 << 24]) {
            let m = u64::from(base(samples, k));
            assert!(m.pow(k) >= samples.into() && (m - 1).pow(k) < samples.into());
        }
    }
}
