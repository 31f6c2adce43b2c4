//! `hypercomp_rs._core`: the Rust core as Python sees it.
//!
//! Every function here converts its arguments, enters the core through `enter`, and converts the
//! result back. No arithmetic happens in this crate.

mod approximate;
mod arrangement;
#[cfg(feature = "baselines")]
mod baselines;
mod codec;
mod compress;
mod container;
mod control;
mod enter;
mod error;
mod gpu;
mod machine;
mod openmp;
mod regions;
mod representation;

use pyo3::prelude::*;

/// The compiled half of `hypercomp_rs`; its functions are documented where Python re-exports them.
#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use crate::approximate::approximate_vertices;
    #[pymodule_export]
    use crate::arrangement::{Method, Search, lowest_terms};
    #[pymodule_export]
    use crate::codec::TensorCode;
    #[pymodule_export]
    use crate::container::{group_entries, header_length, read_header, write_header};
    #[pymodule_export]
    use crate::control::Control;
    #[pymodule_export]
    use crate::gpu::{
        DeviceMemory, DeviceTensor, close_devices, cuda_version, device_of, devices, dlpack_view,
        kernel_stamp,
    };
    #[pymodule_export]
    use crate::machine::{default_threads, shares_openmp, simd_available, simd_in_use};
    #[pymodule_export]
    use crate::openmp::use_openmp;
    #[pymodule_export]
    use crate::regions::{
        RegionSearch, characteristic_polynomial, faces, intersection_lattice, skeleton,
        vertex_signs,
    };
    #[pymodule_export]
    use crate::representation::{
        big_vertex_rows, integer_rows, ratio_rows, rational_rows, read_representation, vertex_rows,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        // Set as an attribute and not exported, so that `__all__`, and with it the stub, is the same
        // with and without the feature.
        #[cfg(feature = "baselines")]
        module.setattr(
            "baseline_vertices",
            wrap_pyfunction!(crate::baselines::baseline_vertices, module)?,
        )?;
        Ok(())
    }
}
