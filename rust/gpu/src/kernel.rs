//! The kernels.

/// A kernel of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(usize);

const NAMES: [&str; 1] = ["decode_f32"];

impl Kernel {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..NAMES.len()).map(Self)
    }
    pub fn index(self) -> usize {
        self.0
    }
    pub fn name(self) -> &'static str {
        NAMES[self.0]
    }
}
