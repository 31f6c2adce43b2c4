//! Groups the entries of a file into compressed tensors.

use std::collections::BTreeMap;

use safetensors::Dtype;

use super::header::Tensor;
use crate::{Error, ErrorKind, Result};

/// The end of a description's name, after the tensor's name and an underscore.
pub const DESCRIPTION: &str = "description";

/// The ends of the names of parts.
pub const PARTS: [&str; 8] = [
    "path", "cells", "scales", "rates", "mask", "exact", "codes", "raw",
];

/// The name of the entry that holds a part of a tensor, or its description.
pub fn part_name(tensor: &str, part: &str) -> String {
    format!("{tensor}_{part}")
}

/// The entries that belong to a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Group {
    /// A tensor that is not compressed: its own entry.
    Plain(Tensor),
    /// The entries of a compressed tensor.
    Compressed {
        /// The tensor's name.
        name: String,
        /// The entry of its description.
        description: Tensor,
        /// The entries of its parts, by the names of the parts.
        parts: BTreeMap<&'static str, Tensor>,
    },
}

/// The tensors of a file, or of all files of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// In the order of the names.
    pub groups: BTreeMap<String, Group>,
}

/// The name of the tensor, and of its part, that an entry of this name would be.
fn owner(tensor: &Tensor) -> Option<(&str, &str)> {
    let bytes = tensor.dtype == Dtype::U8 && tensor.shape.len() == 1;
    let (owner, part) = tensor.name.rsplit_once('_')?;
    (bytes && !owner.is_empty()).then_some((owner, part))
}

impl Contents {
    /// Group the entries of a file, or of all files of a model: a 1-D `U8` entry `x_description`
    /// makes `x` a compressed tensor, and the 1-D `U8` entries `x_path`, `x_cells`, … its parts.
    ///
    /// The parts of a tensor may be in different files, because tools that split a model by size do not
    /// know about parts.
    ///
    /// # Errors
    /// [`ErrorKind::Format`] if `x` exists in both forms.
    pub fn of(tensors: &[Tensor]) -> Result<Self> {
        let mut groups = BTreeMap::new();
        for tensor in tensors {
            if let Some((name, DESCRIPTION)) = owner(tensor) {
                let group = Group::Compressed {
                    name: name.to_owned(),
                    description: tensor.clone(),
                    parts: BTreeMap::new(),
                };
                groups.insert(name.to_owned(), group);
            }
        }
        for tensor in tensors {
            let owned = owner(tensor).and_then(|(name, part)| Some((groups.get_mut(name)?, part)));
            if let Some((Group::Compressed { parts, .. }, part)) = owned {
                if part == DESCRIPTION {
                    continue;
                }
                if let Some(part) = PARTS.into_iter().find(|known| *known == part) {
                    parts.insert(part, tensor.clone());
                    continue;
                }
            }
            if groups.contains_key(&tensor.name) {
                return Err(Error::new(
                    ErrorKind::Format,
                    format!(
                        "tensor {} is there twice: as it is, and compressed as {}",
                        tensor.name,
                        part_name(&tensor.name, DESCRIPTION)
                    ),
                ));
            }
            groups.insert(tensor.name.clone(), Group::Plain(tensor.clone()));
        }
        Ok(Self { groups })
    }
}
