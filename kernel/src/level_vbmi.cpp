#define MLRF_LEVEL vbmi
#define MLRF_VECTOR_BYTES 64
#include "level.hpp"
#include "permute.hpp"

namespace mlrf {

const Level& avx512_level();

namespace vbmi {

static void score_packed(const Forest& f, const PackedTrees& trees, const void* values, bool is_float32, std::size_t n_rows,
                         const PackedScratch& scratch, double* margins) {
    if (is_float32)
        score_packed_of(f, trees, static_cast<const float*>(values), n_rows, scratch, margins);
    else
        score_packed_of(f, trees, static_cast<const double*>(values), n_rows, scratch, margins);
}

}  // namespace vbmi

// AVX-512 and its byte permutations: the kernels of avx512, and packed trees.
const Level& vbmi_level() {
    static const Level level = [] {
        Level made = avx512_level();
        made.name = "vbmi";
        made.score_packed = vbmi::score_packed;
        made.most_byte_columns = kMostByteColumns;
        made.packed_sixteenths = 12;
        return made;
    }();
    return level;
}

}  // namespace mlrf
