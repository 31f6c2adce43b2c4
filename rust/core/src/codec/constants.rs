//! The constants of the format: one winding and one set of levels for each rate and window.
//!
//! Found by `cargo run --release --example search_constants`, which scores windings on Gaussian
//! samples and then polishes the levels; it can be run again for any line.

use std::ops::RangeInclusive;

use super::trellis::Code;

/// The rates k that have a code.
pub const BITS: RangeInclusive<u32> = 1..=8;

/// The windows W that have codes, from the fastest search to the best.
pub const WINDOWS: [u32; 4] = [8, 10, 12, 16];

const fn code(
    window: u32,
    bits: u32,
    offset_bits: u32,
    turn: u32,
    skew: u32,
    shape: [i32; 3],
    deviation: f32,
) -> Code {
    Code {
        bits,
        window,
        offset_bits,
        turn,
        skew,
        shape,
        deviation,
    }
}

/// Every code, by window and rate, with the distance to the rate–distortion bound that the search
/// measured on held-apart samples in rows of 4096.
#[rustfmt::skip]
pub const CODES: [Code; 32] = [
    code(8, 1, 6, 35, 4147, [13511, 0, 16889], 9550.0), // 0.540 dB
    code(8, 2, 6, 39, 20537, [12936, 5692, 11772], 9000.0), // 0.719 dB
    code(8, 3, 6, 29, 17435, [12408, 6452, 11540], 8650.0), // 0.751 dB
    code(8, 4, 6, 27, 18059, [12510, 6255, 11635], 8400.0), // 0.812 dB
    code(8, 5, 6, 41, 20519, [11603, 6614, 12183], 7900.0), // 0.884 dB
    code(8, 6, 6, 49, 45079, [11429, 6286, 12686], 7600.0), // 0.983 dB
    code(8, 7, 6, 35, 9257, [10133, 5979, 14288], 6900.0), // 0.979 dB
    code(8, 8, 6, 27, 58129, [9590, 6138, 14673], 6450.0), // 0.938 dB
    code(10, 1, 6, 29, 46017, [13047, 0, 17353], 9550.0), // 0.394 dB
    code(10, 2, 6, 29, 23969, [11875, 5344, 13181], 8700.0), // 0.555 dB
    code(10, 3, 6, 35, 30399, [12720, 5851, 11829], 8800.0), // 0.588 dB
    code(10, 4, 6, 29, 10559, [11386, 6604, 12410], 8000.0), // 0.640 dB
    code(10, 5, 6, 35, 61187, [11515, 6103, 12782], 7900.0), // 0.695 dB
    code(10, 6, 6, 27, 8447, [10935, 5796, 13669], 7250.0), // 0.744 dB
    code(10, 7, 6, 27, 19837, [10000, 5900, 14500], 6800.0), // 0.778 dB
    code(10, 8, 6, 35, 38655, [9240, 6653, 14507], 6500.0), // 0.812 dB
    code(12, 1, 7, 61, 14163, [12720, 0, 17680], 9450.0), // 0.343 dB
    code(12, 2, 7, 59, 41537, [12258, 5516, 12626], 9000.0), // 0.438 dB
    code(12, 3, 7, 57, 25793, [12459, 6105, 11836], 8850.0), // 0.481 dB
    code(12, 4, 7, 79, 63535, [11829, 6624, 11947], 8300.0), // 0.531 dB
    code(12, 5, 7, 49, 16159, [11386, 6604, 12410], 7950.0), // 0.617 dB
    code(12, 6, 7, 73, 46409, [10935, 5796, 13669], 7400.0), // 0.655 dB
    code(12, 7, 7, 53, 44433, [10375, 5810, 14214], 7000.0), // 0.709 dB
    code(12, 8, 7, 53, 27161, [9157, 5952, 15292], 6450.0), // 0.694 dB
    code(16, 1, 8, 139, 36647, [12614, 1261, 16524], 9650.0), // 0.244 dB
    code(16, 2, 8, 141, 59177, [12459, 5108, 12833], 9050.0), // 0.324 dB
    code(16, 3, 8, 107, 53523, [11922, 6676, 11802], 8600.0), // 0.373 dB
    code(16, 4, 8, 133, 61047, [11014, 6499, 12887], 8000.0), // 0.411 dB
    code(16, 5, 8, 153, 29319, [10340, 5894, 14166], 7350.0), // 0.455 dB
    code(16, 6, 8, 165, 7127, [9620, 6830, 13949], 6800.0), // 0.541 dB
    code(16, 7, 8, 149, 1793, [9268, 6580, 14551], 6500.0), // 0.552 dB
    code(16, 8, 8, 135, 34101, [8612, 6890, 14899], 6450.0), // 0.648 dB
];
