//! Headers of safetensors files. Python opens, reads and writes the files, in pieces that fit its
//! memory; what they say is read here.

use std::collections::BTreeMap;

use hypercomp_core::container::{self, Contents, Dtype, Group, Header};
use hypercomp_core::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::to_python;

/// Name, dtype, shape, first byte behind the header, bytes.
type Tensor = (String, String, Vec<usize>, usize, usize);
/// A compressed tensor's name, its description's entry, and its parts' entries.
type Compressed = (String, usize, BTreeMap<&'static str, usize>);
/// Tensors, metadata, compressed tensors.
type Read = (Vec<Tensor>, BTreeMap<String, String>, Vec<Compressed>);

/// The length of the header, from the first eight bytes of a file of `file` bytes.
#[pyfunction]
pub fn header_length(py: Python<'_>, first: &[u8], file: u64) -> PyResult<usize> {
    container::header_length(first, file).map_err(|e| to_python(py, e))
}

/// The tensors of a file in the order of its bytes, its metadata, and which tensors belong together.
#[pyfunction]
pub fn read_header(py: Python<'_>, json: &[u8], file: u64) -> PyResult<Read> {
    let read = || {
        let header = Header::parse(json, file)?;
        let contents = Contents::of(&header)?;
        Ok((header, contents))
    };
    let (header, contents) = py.detach(read).map_err(|e| to_python(py, e))?;
    let places: BTreeMap<_, _> = header
        .tensors
        .iter()
        .zip(0..)
        .map(|(t, i)| (&t.name, i))
        .collect();
    let compressed = contents.groups.values().filter_map(|group| match group {
        Group::Plain(_) => None,
        Group::Compressed {
            name,
            description,
            parts,
        } => Some((
            name.clone(),
            places[&description.name],
            parts
                .iter()
                .map(|(part, t)| (*part, places[&t.name]))
                .collect(),
        )),
    });
    let compressed = compressed.collect();
    Ok((tensors(&header), header.metadata, compressed))
}

/// What a file of these tensors begins with, and where each tensor goes.
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
