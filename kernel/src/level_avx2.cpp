#define MLRF_LEVEL avx2
#define MLRF_VECTOR_BYTES 32
#include "level.inl"
#include "decide.hpp"

namespace mlrf {
namespace avx2 {

static void score_packed(const Forest& f, const PackedTrees& trees, const void* values, bool is_float32, std::size_t n_rows,
                         const PackedScratch& scratch, double* margins) {
    if (is_float32)
        score_decided_of(f, trees, static_cast<const float*>(values), n_rows, scratch, margins);
    else
        score_decided_of(f, trees, static_cast<const double*>(values), n_rows, scratch, margins);
}

}  // namespace avx2

const Level& avx2_level() {
    static const Level level = [] {
        Level made = avx2::table("avx2");
        made.score_packed = avx2::score_packed;
        made.most_byte_columns = 128;
        made.packed_sixteenths = 3;
        return made;
    }();
    return level;
}

}  // namespace mlrf
