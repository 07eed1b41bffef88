// What distinguishes the parts of keys: tables have many parts in common, which are then evaluated once.
#pragma once

#include <cstdint>
#include <cstring>
#include <tuple>

#include "forest.hpp"

namespace mlrf {

using Condition = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t, std::uint64_t>;

inline Condition condition_of(const KeyPart& part) {
    std::uint64_t border;  // its bits: a damaged file may say NaN
    std::memcpy(&border, &part.border, sizeof border);
    return {part.kind, part.source, part.hash, part.nan_is_above, border};
}

}  // namespace mlrf
