//! Headers of safetensors files. Python opens, reads and writes the files in pieces that fit in memory;
//! the headers are parsed and written here.

use std::collections::{BTreeMap, HashMap};

use hypercomp_core::container::{self, Contents, Dtype, Group, Header};
use hypercomp_core::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_python;

/// Name, dtype, shape, first byte relative to the end of the header, number of bytes.
type Tensor = (String, String, Vec<usize>, usize, usize);
/// A compressed tensor's name, its description's entry, and its parts' entries.
type Compressed = (String, usize, BTreeMap<&'static str, usize>);
/// Tensors, metadata.
type Read = (Vec<Tensor>, BTreeMap<String, String>);

/// The length of the header, from the first eight bytes of a file of `file` bytes.
#[pyfunction]
pub fn header_length(py: Python<'_>, first: &[u8], file: u64) -> PyResult<usize> {
    container::header_length(first, file).map_err(|e| to_python(py, e))
}

/// The tensors of a file in the order of its bytes, and its metadata.
#[pyfunction]
pub fn read_header(py: Python<'_>, json: &[u8], file: u64) -> PyResult<Read> {
    let header = py
        .detach(|| Header::parse(json, file))
        .map_err(|e| to_python(py, e))?;
    Ok((tensors(&header), header.metadata))
}

/// Group the entries of all files of a model into compressed tensors. Names are unique.
#[pyfunction]
pub fn group_entries(
    py: Python<'_>,
    entries: Vec<(String, String, Vec<usize>)>,
) -> PyResult<Vec<Compressed>> {
    let group = || {
        let entries = entries
            .into_iter()
            .map(|(name, dtype, shape)| {
                Ok(container::Tensor {
                    name,
                    dtype: dtype_from_name(&dtype)?,
                    shape,
                    start: 0,
                    len: 0,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let contents = Contents::of(&entries)?;
        let places: HashMap<_, _> = entries.iter().map(|t| &t.name).zip(0..).collect();
        let compressed = contents
            .groups
            .into_values()
            .filter_map(|group| match group {
                Group::Plain(_) => None,
                Group::Compressed {
                    name,
                    description,
                    parts,
                } => Some((
                    name,
                    places[&description.name],
                    parts
                        .into_iter()
                        .map(|(part, t)| (part, places[&t.name]))
                        .collect(),
                )),
            });
        Ok(compressed.collect())
    };
    py.detach(group).map_err(|e: Error| to_python(py, e))
}

/// The header of a file with these tensors, and the place of each tensor.
#[pyfunction]
pub fn write_header<'py>(
    py: Python<'py>,
    tensors: Vec<(String, String, Vec<usize>)>,
    metadata: BTreeMap<String, String>,
) -> PyResult<(Bound<'py, PyBytes>, Vec<Tensor>)> {
    let write = || {
        let typed = tensors
            .into_iter()
            .map(|(name, dtype, shape)| Ok((name, dtype_from_name(&dtype)?, shape)))
            .collect::<Result<Vec<_>, Error>>()?;
        let header = Header::of(typed, metadata)?;
        let bytes = header.to_bytes()?;
        Ok((header, bytes))
    };
    let (header, bytes) = py.detach(write).map_err(|e| to_python(py, e))?;
    Ok((PyBytes::new(py, &bytes), self::tensors(&header)))
}

fn tensors(header: &Header) -> Vec<Tensor> {
    let tensors = header.tensors.iter();
    tensors
        .map(|t| {
            (
                t.name.clone(),
                t.dtype.to_string(),
                t.shape.clone(),
                t.start,
                t.len,
            )
        })
        .collect()
}

fn dtype_from_name(name: &str) -> Result<Dtype, Error> {
    container::dtype_from_name(name).ok_or_else(|| {
        Error::new(
            ErrorKind::Dtype,
            format!("dtype {name}: safetensors files have none of that name"),
        )
    })
}
