//! Any bytes, read as `.ine` and as `.ext`: no panic, no hang, and what is accepted is consistent.
//!
//! Run it with `make fuzz`.

#![no_main]

use hypercomp_core::Control;
use hypercomp_core::representation::{Kind, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    for kind in [Kind::H, Kind::V] {
        match read(file, kind, &Control::new()) {
            Ok(found) => {
                assert!(found.columns > 0 && found.entries.len() % found.columns == 0);
                let rows = found.entries.len() / found.columns;
                assert!(found.linearity.is_sorted() && found.linearity.iter().all(|r| *r < rows));
                // Each entry is a byte and a blank, the last of all perhaps without.
                assert!(2 * found.entries.len() <= file.len() + 1);
            }
            Err(error) => {
                assert!(error.message().starts_with("line ") && error.message().len() < 400)
            }
        }
    }
});
