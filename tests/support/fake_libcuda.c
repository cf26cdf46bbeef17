/* A CUDA driver without a GPU, in the memory of the host: for the calls that numbasep makes through cuda-bindings.

   Launching copies the array that the first parameter points to over that of the second one, as far as both go: so
   what comes back tells that pointers, sizes and parameters went through the bindings as they were meant.  Within
   "device memory" no more than MOST bytes are moved or set: nobody looks at the rest, and it need not exist. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 65536

typedef uint64_t address;

static void *current;
static size_t launched;
static pid_t starter; /* other processes are forked children, in which nothing works */

size_t fake_launches(void) { return launched; }

static size_t size_of(address a) { return ((size_t *)a)[-2]; }

static int allocate(address *result, size_t bytes) {
    char *whole = calloc(1, bytes + 16);
    *(size_t *)whole = bytes;
    *result = (address)(whole + 16);
    return 0;
}

static int release(address a) { free((char *)a - 16); return 0; }

int cuInit(unsigned flags) {
    if (!starter) starter = getpid();
    return starter == getpid() ? 0 : 3;
}
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "fake", length); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 13: *value = 1980000; return 0; /* clock, kHz */
    case 16: *value = 132; return 0;     /* multiprocessors */
    case 75: *value = 9; return 0;       /* compute capability */
    case 76: *value = 0; return 0;
    case 115: *value = 1; return 0; /* memory pools */
    }
    return 1;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)4096; return 0; }
int cuCtxGetCurrent(void **context) { *context = current; return starter == getpid() ? 0 : 3; }
int cuCtxPushCurrent(void *context) { current = context; return 0; }
int cuCtxPopCurrent(void **context) { *context = current; current = NULL; return 0; }
int cuCtxSynchronize(void) { return current ? 0 : 201; }
int cuModuleLoadData(void **module, const void *image) {
    if (memcmp(image, "\177ELF", 4)) return 200;
    *module = (void *)image;
    return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    if (!strstr(name, "numbasep")) return 500;
    *function = module;
    return 0;
}
int cuMemAlloc(address *a, size_t bytes) { return current ? allocate(a, bytes) : 201; }
int cuMemFree(address a) { return current ? release(a) : 201; }
int cuMemAllocAsync(address *a, size_t bytes, void *stream) { return allocate(a, bytes); }
int cuMemFreeAsync(address a, void *stream) { return release(a); }
int cuMemcpyHtoD(address target, const void *source, size_t bytes) {
    memcpy((void *)target, source, bytes);
    return 0;
}
int cuMemcpyHtoDAsync(address target, const void *source, size_t bytes, void *stream) {
    return cuMemcpyHtoD(target, source, bytes);
}
int cuMemcpyDtoHAsync(void *target, address source, size_t bytes, void *stream) {
    memcpy(target, (void *)source, bytes);
    return 0;
}
int cuMemcpyDtoDAsync(address target, address source, size_t bytes, void *stream) {
    memmove((void *)target, (void *)source, bytes < MOST ? bytes : MOST);
    return 0;
}
int cuMemsetD8Async(address target, unsigned char value, size_t bytes, void *stream) {
    memset((void *)target, value, bytes < MOST ? bytes : MOST);
    return 0;
}
int cuStreamSynchronize(void *stream) { return 0; }
int cuStreamIsCapturing(void *stream, int *status) { return *status = 0; }
int cuEventCreate(void **event, unsigned flags) { *event = (void *)4711; return 0; }
int cuEventDestroy(void *event) { return 0; }
int cuEventRecord(void *event, void *stream) { return 0; }
int cuEventSynchronize(void *event) { return 0; }
int cuEventElapsedTime(float *milliseconds, void *start, void *stop) { *milliseconds = 2.5f; return 0; }
int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    if (!current || !function || !x || y != 1 || z != 1 || bx != 32 || !by || bz != 1 || shared || extra) return 1;
    address source = *(address *)parameters[0], target = *(address *)parameters[1];
    size_t bytes = size_of(source) < size_of(target) ? size_of(source) : size_of(target);
    memmove((void *)target, (void *)source, bytes < MOST ? bytes : MOST);
    launched++;
    return 0;
}
int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
    *function = dlsym(RTLD_DEFAULT, symbol);
    if (!*function) {
        Dl_info here;
        dladdr((void *)&cuInit, &here);
        void *self = dlopen(here.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
        *function = dlsym(self, symbol);
    }
    return *function ? 0 : 500;
}
int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
    int code = cuGetProcAddress(symbol, function, version, flags);
    if (status) *status = code ? 1 : 0;
    return code;
}
