//! Exact and raw weights, converted to each type that a caller asks for.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use half::{bf16, f16};
use hypercomp_core::codec::numbers::element::Element;

use crate::device::{Device, Stream};
use crate::error::Result;
use crate::kernel::{FLOATS, Float};
use crate::memory::Buffer;

/// Numbers on the host, and copies on a device in every type that a caller has asked for.
#[derive(Debug)]
pub(crate) struct Converted {
    values: Vec<f64>,
    by_type: [OnceLock<Buffer>; FLOATS],
    /// Held during a conversion, so that each type is converted once.
    making: Mutex<()>,
}

impl Converted {
    pub fn new(values: Vec<f64>) -> Self {
        Self {
            values,
            by_type: Default::default(),
            making: Mutex::new(()),
        }
    }

    /// Address of the numbers in this type. The first call copies them to the device, so it must not be
    /// during a graph capture.
    pub fn on(&self, device: &Arc<Device>, float: Float, stream: Stream) -> Result<u64> {
        let place = &self.by_type[float.number() as usize];
        if let Some(buffer) = place.get() {
            return Ok(buffer.pointer());
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if place.get().is_none() {
            device.refuse_capture(stream)?;
            let buffer = self.upload(device, float, stream)?;
            let _ = place.set(buffer);
        }
        Ok(place.get().map_or(0, Buffer::pointer))
    }

    fn upload(&self, device: &Arc<Device>, float: Float, stream: Stream) -> Result<Buffer> {
        let values = self.values.iter();
        match float {
            Float::F32 => {
                let values: Vec<f32> = values.map(|v| f32::from_f64(*v)).collect();
                Buffer::holding(device, &values, stream)
            }
            Float::F16 => {
                let bits: Vec<u16> = values.map(|v| f16_bits(*v)).collect();
                Buffer::holding(device, &bits, stream)
            }
            Float::Bf16 => {
                let bits: Vec<u16> = values.map(|v| bf16_bits(*v)).collect();
                Buffer::holding(device, &bits, stream)
            }
        }
    }
}

fn f16_bits(value: f64) -> u16 {
    <f16 as Element>::from_f64(value).to_bits()
}

fn bf16_bits(value: f64) -> u16 {
    <bf16 as Element>::from_f64(value).to_bits()
}
