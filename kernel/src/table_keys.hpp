// How the parts of a table's key are hashed: for the file that looks up single rows, and for those compiled for one instruction set.
//
// Always inlined: a shared copy compiled for one instruction set would run on processors without it.
#pragma once

#include <cstdint>

#include "forest.hpp"

namespace mlrf {

// CatBoost's own way of hashing several hashes into one (catboost/libs/model/hash.h): kMultiplier * (hash + kMultiplier * part).
constexpr std::uint64_t kMultiplier = 0x4906ba494954cb65u;

// Write the index of a listed code; n_codes, and false, for any other number.
__attribute__((always_inline)) inline bool find_listed(const HashedFeature& feature, double code, std::uint32_t& index) {
    const bool is_listed = code > -1.0 && code < static_cast<double>(feature.n_codes);
    index = is_listed ? static_cast<std::uint32_t>(code) : feature.n_codes;
    return is_listed;
}

// Write the hash of the category of a code; returns false for NaN and for a code without a category.
__attribute__((always_inline)) inline bool find_hash(const Forest& f, const HashedFeature& feature, double code, std::uint32_t& hash) {
    if (code > -1.0 && code < static_cast<double>(feature.n_codes)) {
        hash = f.code_hashes[feature.first_code + static_cast<std::uint32_t>(code)];
        return true;
    }
    if (!(code >= kHashedCode && code < 2 * kHashedCode)) return false;
    hash = static_cast<std::uint32_t>(code - kHashedCode);
    return true;
}

// CatBoost treats the hash as a signed number.
__attribute__((always_inline)) inline std::uint64_t category_part(std::uint32_t hash) {
    return static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(hash)});
}

// Whether a value, rounded to float32 as CatBoost's are, is above a part's border.
__attribute__((always_inline)) inline bool is_above(const KeyPart& part, double value) {
    const float x = static_cast<float>(value);
    return (static_cast<double>(x) > part.border) | ((x != x) & (part.nan_is_above != 0));
}

}  // namespace mlrf
