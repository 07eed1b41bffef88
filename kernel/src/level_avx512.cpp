#define MLRF_LEVEL avx512
#define MLRF_VECTOR_BYTES 64
#include "level.inl"

namespace mlrf {

const Level& avx2_level();

const Level& avx512_level() {
    static const Level level = [] {
        Level made = avx512::table("avx512");
        // Without permutations of 64 bytes, longer vectors gain nothing here.
        made.score_packed = avx2_level().score_packed;
        made.most_byte_columns = avx2_level().most_byte_columns;
        made.packed_sixteenths = avx2_level().packed_sixteenths;
        return made;
    }();
    return level;
}

}  // namespace mlrf
