// Lanes of a sweep: the vectors that contain one number of one or two bytes for each row of a block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "scratch.hpp"

namespace mlrf::MLRF_LEVEL {

template <typename Lane>
constexpr std::size_t kSweepRows = kSweepBytes / sizeof(Lane);

template <typename Lane>
struct Lanes;
template <>
struct Lanes<std::int8_t> {
    typedef std::int8_t Vector __attribute__((vector_size(MLRF_VECTOR_BYTES), may_alias));
    typedef std::uint8_t Unsigned;
    typedef Unsigned UnsignedVector __attribute__((vector_size(MLRF_VECTOR_BYTES), may_alias));
};
template <>
struct Lanes<std::int16_t> {
    typedef std::int16_t Vector __attribute__((vector_size(MLRF_VECTOR_BYTES), may_alias));
    typedef std::uint16_t Unsigned;
    typedef Unsigned UnsignedVector __attribute__((vector_size(MLRF_VECTOR_BYTES), may_alias));
};

// Lanes are signed but ranks are not: half the range is subtracted from both.
template <typename Lane>
constexpr Lane kBias = static_cast<Lane>(sizeof(Lane) == 1 ? -128 : -32768);

}  // namespace mlrf::MLRF_LEVEL
