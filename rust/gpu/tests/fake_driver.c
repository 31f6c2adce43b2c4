// A libcuda.so without a GPU, for tests of the host path.
//
// It has the entry points that rust/gpu/src/driver.rs looks up, keeps their rules more strictly than
// the real one, writes down every call, fails where it is told to, and counts what is never given
// back. Device memory is host memory. What is put on a stream is done only when somebody waits for
// it, so that memory which is given up too early is noticed.
//
//   FAKE_CUDA_DEVICES      "8.0 9.0": the compute capabilities of the devices; one of 8.0 by default
//   FAKE_CUDA_VERSION      what cuDriverGetVersion says; 12090 by default
//   FAKE_CUDA_FAIL         "cuMemAlloc_v2 2 2": the second call of cuMemAlloc_v2 answers 2
//   FAKE_CUDA_EAGER        if it is there, everything is done at once: for callers whose memory is the
//                          host's and goes when they let go of it
//   FAKE_CUDA_KERNELS      a library with the kernels compiled for the host (fake_kernels.cc); without
//                          one, launches are written down and nothing is computed
//
// Tests read fake_trace(), fake_faults() and fake_leaks(). Compiled with -DcuMemAlloc_v2=absent the
// library lacks that symbol.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Status;
typedef uint64_t Pointer;

enum { SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED };
enum { INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500,
       CAPTURE_UNSUPPORTED = 900 };
enum { MAX_DEVICES = 8, MAX_DEPTH = 64, MAX_THINGS = 65536 };

// What a library of kernels says of each, and how to run it.
typedef struct {
    const char* name;
    unsigned count;
    const size_t* sizes;
    void (*run)(const unsigned* grid, const unsigned* block, unsigned shared, void** arguments);
} Kernel;

typedef struct { int major, minor, retained, modules, allocations; } Device;
typedef struct { int device, live; } Module;
typedef struct { Module* module; char name[64]; const Kernel* kernel; } Function;
typedef struct { char* start; size_t bytes; int device; } Allocation;
typedef struct {
    enum { COPY, FILL, RUN } what;
    void* stream;
    void* to;
    const void* from;
    size_t bytes;
    unsigned char value;
    const Kernel* kernel;
    unsigned grid[3], block[3], shared;
    char arguments[4096];
} Work;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Device devices[MAX_DEVICES];
static int device_count, started;
// The stream that is captured, if one is.
static uintptr_t capturing;
static Allocation allocations[MAX_THINGS];
static size_t allocation_count;
static Work* work[MAX_THINGS];
static size_t work_count;
static char* trace;
static size_t trace_length, trace_room;
static char faults[65536];
static __thread Device* stack[MAX_DEPTH];
static __thread int depth;

static void note(const char* format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    size_t length = (size_t)vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    line[length++] = '\n';
    if (trace_length + length + 1 > trace_room) {
        trace_room = 2 * (trace_room + length + 1);
        trace = realloc(trace, trace_room);
    }
    memcpy(trace + trace_length, line, length);
    trace_length += length;
    trace[trace_length] = 0;
}

// A rule of the driver that the caller broke: the real one might do anything.
static void fault(const char* what) {
    strncat(faults, what, sizeof faults - strlen(faults) - 2);
    strcat(faults, "\n");
}

static Device* current(void) { return depth ? stack[depth - 1] : NULL; }
static int ordinal(const Device* device) { return (int)(device - devices); }

// Whether the call is to fail now, and with what.
static Status told(const char* name) {
    static char counted[64];
    static int calls;
    const char* orders = getenv("FAKE_CUDA_FAIL");
    char order[64];
    int nth, status;
    if (!orders || sscanf(orders, "%63s %d %d", order, &nth, &status) != 3 || strcmp(order, name)) return SUCCESS;
    if (strcmp(counted, orders)) { strncpy(counted, orders, sizeof counted - 1); calls = 0; }
    return ++calls == nth ? status : SUCCESS;
}

static void perform(Work* item) {
    switch (item->what) {
    case COPY: memcpy(item->to, item->from, item->bytes); break;
    case FILL: memset(item->to, item->value, item->bytes); break;
    case RUN: {
        void* arguments[64];
        char* at = item->arguments;
        for (unsigned i = 0; i < item->kernel->count; at += (item->kernel->sizes[i++] + 15) & ~(size_t)15) arguments[i] = at;
        item->kernel->run(item->grid, item->block, item->shared, arguments);
    }
    }
    free(item);
}

// Do what was put on a stream, or on all of them.
static void finish(void* stream, int all) {
    size_t kept = 0;
    for (size_t i = 0; i < work_count; ++i)
        if (all || work[i]->stream == stream) perform(work[i]);
        else work[kept++] = work[i];
    work_count = kept;
}

static Work* put(void* stream, int what) {
    Work* item = calloc(1, sizeof *item);
    item->stream = stream;
    item->what = what;
    work[work_count++] = item;
    return item;
}

static Allocation* holder(Pointer pointer, size_t bytes) {
    for (size_t i = 0; i < allocation_count; ++i) {
        char* at = (char*)pointer;
        if (at >= allocations[i].start && at + bytes <= allocations[i].start + allocations[i].bytes) return &allocations[i];
    }
    return NULL;
}

#define API __attribute__((visibility("default")))
// One entry point: told errors first, then the rules that all share, then its own.
#define ENTER(...)                                             \
    pthread_mutex_lock(&lock);                                 \
    Status status = told(__func__);                            \
    if (!status && !started && strcmp(__func__, "cuInit")) status = NOT_INITIALIZED;
#define LEAVE(...)                                             \
    if (getenv("FAKE_CUDA_EAGER")) finish(NULL, 1);            \
    note(__VA_ARGS__);                                         \
    if (status) note("  answered %d", status);                 \
    pthread_mutex_unlock(&lock);                               \
    return status;
#define NEEDS_CONTEXT if (!status && !current()) status = INVALID_CONTEXT;
// Calls that spoil a capture unless the thread has been set to relaxed.
static __thread unsigned capture_mode;
#define SPOILS_CAPTURE if (!status && capturing && capture_mode != 2) { status = CAPTURE_UNSUPPORTED; fault("a call spoiled a capture"); }

API Status cuInit(unsigned flags) {
    ENTER()
    if (!status && flags) status = INVALID_VALUE;
    if (!status && !started) {
        const char* text = getenv("FAKE_CUDA_DEVICES");
        if (!text) text = "8.0";
        for (int read; device_count < MAX_DEVICES
             && sscanf(text, " %d.%d%n", &devices[device_count].major, &devices[device_count].minor, &read) == 2; ++device_count)
            text += read;
        started = 1;
    }
    LEAVE("cuInit")
}
API Status cuDriverGetVersion(int* version) {
    ENTER()
    const char* text = getenv("FAKE_CUDA_VERSION");
    *version = text ? atoi(text) : 12090;
    LEAVE("cuDriverGetVersion")
}
API Status cuDeviceGetCount(int* count) { ENTER() *count = device_count; LEAVE("cuDeviceGetCount") }
API Status cuDeviceGet(int* device, int number) {
    ENTER()
    if (!status && (number < 0 || number >= device_count)) status = INVALID_DEVICE;
    *device = number;
    LEAVE("cuDeviceGet %d", number)
}
API Status cuDeviceGetName(char* name, int room, int device) {
    ENTER()
    snprintf(name, (size_t)room, "Fake %d.%d", devices[device].major, devices[device].minor);
    LEAVE("cuDeviceGetName %d", device)
}
API Status cuDeviceGetAttribute(int* value, unsigned attribute, int device) {
    ENTER()
    switch (attribute) {
    case 16: *value = 2; break;  // multiprocessors
    case 75: *value = devices[device].major; break;
    case 76: *value = devices[device].minor; break;
    default: if (!status) status = INVALID_VALUE;
    }
    LEAVE("cuDeviceGetAttribute %u", attribute)
}
API Status cuDevicePrimaryCtxRetain(void** context, int device) {
    ENTER()
    if (!status) { ++devices[device].retained; *context = &devices[device]; }
    LEAVE("cuDevicePrimaryCtxRetain %d", device)
}
API Status cuDevicePrimaryCtxRelease_v2(int device) {
    ENTER()
    Device* d = &devices[device];
    if (d->retained <= 0) fault("a context released more often than retained");
    if (!status && --d->retained == 0 && (d->modules || d->allocations)) fault("a context released before what is in it");
    LEAVE("cuDevicePrimaryCtxRelease_v2 %d", device)
}
API Status cuCtxGetCurrent(void** context) { ENTER() *context = current(); LEAVE("cuCtxGetCurrent") }
API Status cuCtxPushCurrent_v2(void* context) {
    ENTER()
    if (!status && !((Device*)context)->retained) { status = INVALID_CONTEXT; fault("a context used that is not retained"); }
    if (!status) stack[depth++] = context;
    LEAVE("cuCtxPushCurrent_v2 %d", ordinal(context))
}
API Status cuCtxPopCurrent_v2(void** context) {
    ENTER()
    if (!depth) { status = INVALID_CONTEXT; fault("a context popped that was never pushed"); }
    else *context = stack[--depth];
    LEAVE("cuCtxPopCurrent_v2")
}
API Status cuModuleLoadDataEx(void** module, const void* image, unsigned count, unsigned* options, void** values) {
    ENTER()
    (void)options; (void)values;
    if (!status && ((uintptr_t)image & 7)) fault("an image that is not aligned");
    NEEDS_CONTEXT SPOILS_CAPTURE
    const unsigned char* bytes = image;
    static const unsigned char fatbin[4] = {0x50, 0xED, 0x55, 0xBA};
    const char* kind = !memcmp(bytes, fatbin, 4) ? "fatbin" : !memcmp(bytes, "\177ELF", 4) ? "cubin" : !memcmp(bytes, "//", 2) ? "ptx" : NULL;
    if (!status && !kind) status = INVALID_IMAGE;
    if (!status) {
        Module* loaded = calloc(1, sizeof *loaded);
        loaded->device = ordinal(current());
        loaded->live = 1;
        ++current()->modules;
        *module = loaded;
    }
    LEAVE("cuModuleLoadDataEx %s options=%u", kind ? kind : "?", count)
}
API Status cuModuleUnload(void* module) {
    ENTER()
    NEEDS_CONTEXT SPOILS_CAPTURE
    Module* m = module;
    if (!status && !m->live) fault("a module unloaded twice");
    if (!status && m->device != ordinal(current())) fault("a module unloaded in another context");
    if (!status) { finish(NULL, 1); m->live = 0; --devices[m->device].modules; }
    LEAVE("cuModuleUnload")
}
API Status cuModuleGetFunction(void** function, void* module, const char* name) {
    ENTER()
    NEEDS_CONTEXT
    static const Kernel* (*find)(const char*);
    const char* library = getenv("FAKE_CUDA_KERNELS");
    if (library && !find) {
        void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        if (!handle) { fprintf(stderr, "%s\n", dlerror()); abort(); }
        *(void**)&find = dlsym(handle, "fake_kernel");
    }
    const Kernel* kernel = find ? find(name) : NULL;
    if (!status && find && !kernel) status = NOT_FOUND;
    if (!status) {
        Function* found = calloc(1, sizeof *found);
        found->module = module;
        found->kernel = kernel;
        strncpy(found->name, name, sizeof found->name - 1);
        *function = found;
    }
    LEAVE("cuModuleGetFunction %s", name)
}
API Status cuMemAlloc_v2(Pointer* pointer, size_t bytes) {
    ENTER()
    NEEDS_CONTEXT SPOILS_CAPTURE
    if (!status && !bytes) status = INVALID_VALUE;
    if (!status) {
        char* start = aligned_alloc(256, (bytes + 255) / 256 * 256);
        memset(start, 0xA5, bytes);
        allocations[allocation_count++] = (Allocation){start, bytes, ordinal(current())};
        ++current()->allocations;
        *pointer = (Pointer)start;
    }
    LEAVE("cuMemAlloc_v2 %zu", bytes)
}
API Status cuMemFree_v2(Pointer pointer) {
    ENTER()
    NEEDS_CONTEXT SPOILS_CAPTURE
    Allocation* freed = holder(pointer, 0);
    if (!status && (!freed || (Pointer)freed->start != pointer)) { status = INVALID_VALUE; fault("memory freed that is not allocated"); }
    if (!status) {
        finish(NULL, 1);
        --devices[freed->device].allocations;
        memset(freed->start, 0x5A, freed->bytes);
        free(freed->start);
        *freed = allocations[--allocation_count];
    }
    LEAVE("cuMemFree_v2")
}
API Status cuMemcpyHtoDAsync_v2(Pointer to, const void* from, size_t bytes, void* stream) {
    ENTER()
    NEEDS_CONTEXT
    if (!status && !holder(to, bytes)) { status = INVALID_VALUE; fault("a copy to memory that is not allocated"); }
    if (!status) { Work* item = put(stream, COPY); item->to = (void*)to; item->from = from; item->bytes = bytes; }
    LEAVE("cuMemcpyHtoDAsync_v2 %zu stream=%p", bytes, stream)
}
API Status cuMemcpyDtoHAsync_v2(void* to, Pointer from, size_t bytes, void* stream) {
    ENTER()
    NEEDS_CONTEXT
    if (!status && !holder(from, bytes)) { status = INVALID_VALUE; fault("a copy from memory that is not allocated"); }
    if (!status) { Work* item = put(stream, COPY); item->to = to; item->from = (void*)from; item->bytes = bytes; }
    LEAVE("cuMemcpyDtoHAsync_v2 %zu stream=%p", bytes, stream)
}
API Status cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void* stream) {
    ENTER()
    NEEDS_CONTEXT
    if (!status) { Work* item = put(stream, COPY); item->to = (void*)to; item->from = (void*)from; item->bytes = bytes; }
    LEAVE("cuMemcpyDtoDAsync_v2 %zu stream=%p", bytes, stream)
}
API Status cuMemsetD8Async(Pointer to, unsigned char value, size_t bytes, void* stream) {
    ENTER()
    NEEDS_CONTEXT
    if (!status) { Work* item = put(stream, FILL); item->to = (void*)to; item->value = value; item->bytes = bytes; }
    LEAVE("cuMemsetD8Async %zu stream=%p", bytes, stream)
}
API Status cuStreamSynchronize(void* stream) {
    ENTER()
    NEEDS_CONTEXT SPOILS_CAPTURE
    if (!status && capturing && (uintptr_t)stream == capturing) { status = CAPTURE_UNSUPPORTED; fault("a captured stream waited for"); }
    // After an error a device does nothing more.
    if (status) { while (work_count) free(work[--work_count]); }
    // The default stream waits for the others.
    if (!status) finish(stream, !stream);
    LEAVE("cuStreamSynchronize stream=%p", stream)
}
API Status cuStreamIsCapturing(void* stream, unsigned* answer) {
    ENTER()
    NEEDS_CONTEXT
    *answer = capturing && (uintptr_t)stream == capturing;
    LEAVE("cuStreamIsCapturing stream=%p", stream)
}
API Status cuThreadExchangeStreamCaptureMode(unsigned* mode) {
    ENTER()
    unsigned before = capture_mode;
    if (!status) { capture_mode = *mode; *mode = before; }
    LEAVE("cuThreadExchangeStreamCaptureMode")
}
// The device of memory allocated here; any other memory is the host's.
API Status cuPointerGetAttribute(void* value, unsigned attribute, Pointer pointer) {
    ENTER()
    Allocation* held = holder(pointer, 0);
    if (!status && (!held || attribute != 9)) status = INVALID_VALUE;
    if (!status) *(int*)value = held->device;
    LEAVE("cuPointerGetAttribute %u", attribute)
}
API Status cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, void* stream, void** arguments, void** extra) {
    ENTER()
    NEEDS_CONTEXT
    Function* f = function;
    if (!status && (!f->module->live || f->module->device != ordinal(current()))) { status = INVALID_HANDLE; fault("a kernel launched outside its context"); }
    if (!status && (extra || !gx || !gy || !gz || gy > 65535 || gz > 65535 || !bx || bx * by * bz > 1024 || shared > 49152)) status = INVALID_VALUE;
    if (!status && f->kernel) {
        Work* item = put(stream, RUN);
        item->kernel = f->kernel;
        unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
        memcpy(item->grid, grid, sizeof grid);
        memcpy(item->block, block, sizeof block);
        item->shared = shared;
        // As the driver does: arguments are taken now, though the kernel runs later.
        char* at = item->arguments;
        for (unsigned i = 0; i < f->kernel->count; at += (f->kernel->sizes[i++] + 15) & ~(size_t)15) memcpy(at, arguments[i], f->kernel->sizes[i]);
    }
    LEAVE("cuLaunchKernel %s grid=%u,%u,%u block=%u,%u,%u shared=%u stream=%p", f->name, gx, gy, gz, bx, by, bz, shared, stream)
}
API Status cuGetErrorName(Status status, const char** text) {
    *text = status == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : status < 1000 ? "CUDA_ERROR_FAKE" : NULL;
    return *text ? SUCCESS : INVALID_VALUE;
}
API Status cuGetErrorString(Status status, const char** text) {
    *text = status < 1000 ? "as the test asked" : NULL;
    return *text ? SUCCESS : INVALID_VALUE;
}

// For the tests.
API const char* fake_trace(void) { return trace ? trace : ""; }
API void fake_forget(void) { trace_length = 0; if (trace) *trace = 0; }
API const char* fake_faults(void) { return faults; }
API void fake_capture(uintptr_t stream) { capturing = stream; }
API size_t fake_waiting(void) { return work_count; }
// What was never given back; 0 after everything was dropped.
API size_t fake_leaks(void) {
    size_t leaks = allocation_count + (size_t)depth;
    for (int i = 0; i < device_count; ++i) leaks += (size_t)(devices[i].retained + devices[i].modules);
    return leaks;
}
