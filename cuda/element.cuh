// The types of weights, and the last step of decoding: multiplication by 2^e, rounded once.
//
// The same bits as `Element::restore` and `Element::from_f64` in rust/core/src/codec/numbers/element.rs,
// whose comments say when multiplying by two factors in f32 rounds as if once.
#pragma once
#include "device.h"
#include "launch.h"

#define F32_MAX 3.4028234663852886e38f
#define F16_MAX 65504.0f
#define BF16_MAX 3.3895313892515355e38f
#define F32_MIN_NORMAL 1.1754943508222875e-38f

static __device__ __forceinline__ float clamped(float value, float most) {
    return fminf(fmaxf(value, -most), most);
}

// A float that rounds to the same 16-bit float as `value`.
static __device__ __forceinline__ float to_odd(double value) {
    float nearest = __double2float_rn(value);
    double back = (double)nearest;
    uint32_t bits = __float_as_uint(nearest);
    if (back == value || (bits & 1)) return nearest;
    return __uint_as_float(fabs(back) > fabs(value) ? bits - 1 : bits + 1);
}

static __device__ __forceinline__ double wide_product(const HcTensor& tensor, float value) {
    return (double)value * tensor.wide[0] * tensor.wide[1];
}

static __device__ __forceinline__ double clamped_wide(double value, float most) {
    return fmin(fmax(value, -(double)most), (double)most);
}

// restore: of decoded weights; in_floats: the same where `fits` and the product is not subnormal; from, to: of
// results and activations
template <class T> struct Element;

template <> struct Element<float> {
    static __device__ __forceinline__ float in_floats(const HcTensor& tensor, float value) {
        return clamped(value * tensor.narrow[0] * tensor.narrow[1], F32_MAX);
    }
    static __device__ __forceinline__ float restore(const HcTensor& tensor, float value) {
        if (tensor.fits) return in_floats(tensor, value);
        return clamped(__double2float_rn(wide_product(tensor, value)), F32_MAX);
    }
    static __device__ __forceinline__ float from(float value) { return value; }
    static __device__ __forceinline__ float to(float value) { return value; }
};

template <> struct Element<__half> {
    static __device__ __forceinline__ __half in_floats(const HcTensor& tensor, float value) {
        return __float2half_rn(clamped(value * tensor.narrow[0] * tensor.narrow[1], F16_MAX));
    }
    static __device__ __forceinline__ __half restore(const HcTensor& tensor, float value) {
        if (tensor.fits) return in_floats(tensor, value);
        return __float2half_rn(to_odd(clamped_wide(wide_product(tensor, value), F16_MAX)));
    }
    static __device__ __forceinline__ __half from(float value) { return __float2half_rn(value); }
    static __device__ __forceinline__ float to(__half value) { return __half2float(value); }
};

template <> struct Element<__nv_bfloat16> {
    // Rounds to nearest, ties to even, in integer arithmetic, which every architecture has. No product is so
    // large that it overflows.
    static __device__ __forceinline__ __nv_bfloat16 rounded(float value) {
        uint32_t bits = __float_as_uint(value);
        return __ushort_as_bfloat16((uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16));
    }
    static __device__ __forceinline__ __nv_bfloat16 in_floats(const HcTensor& tensor, float value) {
        return rounded(clamped(value * tensor.narrow[0] * tensor.narrow[1], BF16_MAX));
    }
    static __device__ __forceinline__ __nv_bfloat16 restore(const HcTensor& tensor, float value) {
        float product = clamped(value * tensor.narrow[0] * tensor.narrow[1], BF16_MAX);
        // Subnormals would be rounded twice, because those of both types lie in the same range.
        bool subnormal = fabsf(product) < F32_MIN_NORMAL && value != 0.0f;
        if (tensor.fits && !subnormal) return rounded(product);
        return rounded(to_odd(clamped_wide(wide_product(tensor, value), BF16_MAX)));
    }
    // For results, which may be beyond the range, or NaN.
    static __device__ __forceinline__ __nv_bfloat16 from(float value) {
        if (value != value) return __ushort_as_bfloat16(0x7FFF);
        return rounded(value);
    }
    static __device__ __forceinline__ float to(__nv_bfloat16 value) {
        return __uint_as_float((uint32_t)__bfloat16_as_ushort(value) << 16);
    }
};

// The bits of a float of 16.
static __device__ __forceinline__ uint16_t bits_of(__half value) {
    return *reinterpret_cast<const uint16_t*>(&value);
}
static __device__ __forceinline__ uint16_t bits_of(__nv_bfloat16 value) { return __bfloat16_as_ushort(value); }

// The same for a dtype that is known at run time; it is the same for all threads.
static __device__ __forceinline__ void store_weight(const HcTensor& tensor, void* out, uint64_t i,
                                                    uint32_t dtype, float value) {
    if (dtype == HC_F16)
        ((__half*)out)[i] = Element<__half>::restore(tensor, value);
    else if (dtype == HC_BF16)
        ((__nv_bfloat16*)out)[i] = Element<__nv_bfloat16>::restore(tensor, value);
    else
        ((float*)out)[i] = Element<float>::restore(tensor, value);
}

static __device__ __forceinline__ void store_result(void* out, uint64_t i, uint32_t dtype, float value) {
    if (dtype == HC_F16)
        ((__half*)out)[i] = Element<__half>::from(value);
    else if (dtype == HC_BF16)
        ((__nv_bfloat16*)out)[i] = Element<__nv_bfloat16>::from(value);
    else
        ((float*)out)[i] = value;
}

// Store a weight that needs no factor. A value beyond the range becomes the largest finite one.
static __device__ __forceinline__ void store_clamped(void* out, uint64_t i, uint32_t dtype, float value) {
    float most = dtype == HC_F16 ? F16_MAX : dtype == HC_BF16 ? BF16_MAX : F32_MAX;
    store_result(out, i, dtype, clamped(value, most));
}

static __device__ __forceinline__ float load_value(const void* x, uint64_t i, uint32_t dtype) {
    if (dtype == HC_F16) return Element<__half>::to(((const __half*)x)[i]);
    if (dtype == HC_BF16) return Element<__nv_bfloat16>::to(((const __nv_bfloat16*)x)[i]);
    return ((const float*)x)[i];
}
