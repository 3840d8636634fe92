/* SPDX-License-Identifier: MIT */
/* Which table of kernels runs here. */
#include "engine/kernels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/blas.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* The features a table needs, as bits of one number, where the kernel keeps their registers too. */
enum {
    AVX2 = 1 << 0, /* with FMA and F16C */
    AVX_VNNI = 1 << 1,
    AVX512 = 1 << 2, /* F, BW, DQ, VL and VNNI */
};

static unsigned cpu_features(void)
{
    unsigned eax, ebx, ecx, edx, found = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        return 0;
    const unsigned base = bit_FMA | bit_F16C | bit_AVX | bit_OSXSAVE;
    if ((ecx & base) != base)
        return 0;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
        return 0;
    unsigned leaves = eax;
    if ((ebx & bit_AVX2) == 0)
        return 0;
    found = AVX2;
    const unsigned wide = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((low & 0xe6) == 0xe6 && (ebx & wide) == wide && (ecx & bit_AVX512VNNI) != 0)
        found |= AVX512;
    if (leaves >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & (1u << 4)) != 0)
        found |= AVX_VNNI;
    return found;
}

#elif defined(__aarch64__)
#include <sys/auxv.h>

enum {
    DOTPROD = 1 << 0,
};

static unsigned cpu_features(void)
{
    const unsigned long asimddp = 1ul << 20; /* HWCAP_ASIMDDP, which old headers lack */
    return (getauxval(AT_HWCAP) & asimddp) != 0 ? DOTPROD : 0;
}

#else

static unsigned cpu_features(void)
{
    return 0;
}

#endif

/* The plainest first: "auto" takes the last that runs here. */
static const struct {
    const struct ulm_kernels *kernels;
    unsigned needs;
} tables[] = {
    {&ulm_kernels_scalar, 0},
#if defined(__x86_64__)
    {&ulm_kernels_avx2, AVX2},
    {&ulm_kernels_avx2_vnni, AVX2 | AVX_VNNI},
    {&ulm_kernels_avx512, AVX2 | AVX512},
#elif defined(__aarch64__)
    {&ulm_kernels_neon, 0}, /* every ARMv8 has it */
    {&ulm_kernels_dotprod, DOTPROD},
#endif
};

const struct ulm_kernels *ulm_kernels_at(size_t i)
{
    unsigned features = cpu_features();
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
        if ((tables[k].needs & ~features) == 0 && i-- == 0)
            return tables[k].kernels;
    return NULL;
}

/* The environment goes first. */
static const char *wanted_name(const char *name)
{
    const char *forced = secure_getenv("ULM_KERNELS");
    return forced != NULL && *forced != '\0' ? forced : name;
}

bool ulm_kernels_by_cpu(const char *name)
{
    return strcmp(wanted_name(name), "auto") == 0;
}

int ulm_kernels_pick(const char *name, const struct ulm_kernels **ret_kernels)
{
    static const char *const names[] = {"auto", "scalar", "avx2", "avx2-vnni", "avx512", "neon",
                                        "dotprod"};
    name = wanted_name(name);
    bool known = false;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        known |= strcmp(name, names[k]) == 0;
    if (!known)
        return -EINVAL;
    const struct ulm_kernels *best = NULL;
    unsigned features = cpu_features();
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++) {
        bool wanted = strcmp(name, "auto") == 0 || strcmp(name, tables[k].kernels->name) == 0;
        if (wanted && (tables[k].needs & ~features) == 0)
            best = tables[k].kernels;
    }
    if (best == NULL)
        return -EOPNOTSUPP;
    *ret_kernels = best;
    return 0;
}

ulm_matmul_fn *ulm_kernels_matmul(const struct ulm_kernels *kernels, const struct ulm_matrix *m)
{
    switch (m->type) {
    case ULM_TYPE_F32:
        return m->blas != NULL ? ulm_blas_matmul : kernels->f32;
    case ULM_TYPE_F16:
        return kernels->f16;
    case ULM_TYPE_Q4_0:
        return kernels->q4;
    case ULM_TYPE_Q8_0:
        return kernels->q8;
    }
    return NULL;
}
