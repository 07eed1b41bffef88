// Fills the columns of a sweep block: a lane for each row, the rank of its value or the side that its category takes.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>

#include "forest.hpp"
#include "ranks.hpp"
#include "scratch.hpp"
#include "sweep_lanes.hpp"

namespace mlrf::MLRF_LEVEL {

// Values of one feature for a block of rows, as they are ranked.
template <typename Lane>
struct RankedValues {
    double x[kSweepRows<Lane>] = {};  // 0 for NaN and for lanes without a row
    std::uint32_t ranks[kSweepRows<Lane>];
    unsigned char is_nan[kSweepRows<Lane>] = {}, is_zero[kSweepRows<Lane>] = {};
};

// Fill one column of a feature, of its first kByteRanks thresholds, and its further ones, where more do not fit lanes of one byte.
// `side` is the value of missing rows, those that `rule` names.
template <typename Lane>
void fill_byte_columns(std::uint8_t rule, typename Lanes<Lane>::Unsigned side, const RankedValues<Lane>& ranked, std::size_t n_rows,
                       std::size_t n_columns, Lane* out, Lane* further) {
    typedef typename Lanes<Lane>::Unsigned Unsigned;
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const unsigned char nan_counts = rule != kNanIsZero, zero_counts = rule == kZeroLeft || rule == kZeroRight;
    for (std::size_t i = 0; i < n_columns; ++i) {
        const std::int32_t below = static_cast<std::int32_t>(i * kByteRanks);
        for (std::size_t row = 0; row < n_rows; ++row) {
            const bool is_missing = ((ranked.is_nan[row] & nan_counts) | (ranked.is_zero[row] & zero_counts)) != 0;
            std::int32_t rank = static_cast<std::int32_t>(ranked.ranks[row]) - below;
            rank = rank < 0 ? 0 : rank;
            rank = rank > std::int32_t{kByteRanks} ? std::int32_t{kByteRanks} : rank;
            out[row] = static_cast<Lane>((is_missing ? side : static_cast<Unsigned>(rank)) + static_cast<Unsigned>(kBias<Lane>));
        }
        out = further + i * kRows;
    }
}

// Fill the columns of one numeric feature, columns[c][kRows], from its values in n_rows rows, values[row * stride]; those that do
// not fit lanes of one byte go on in `further`. Returns the end of these.
template <typename Lane, typename Value>
Lane* fill_numeric_feature(const Forest& f, const NumericFeature& record, const Value* values, std::size_t stride, std::size_t n_rows,
                           RankedValues<Lane>& ranked, Lane* columns, Lane* further) {
    typedef typename Lanes<Lane>::Unsigned Unsigned;
    constexpr std::size_t kRows = kSweepRows<Lane>;
    constexpr Unsigned kOffset = static_cast<Unsigned>(kBias<Lane>);
    for (std::size_t row = 0; row < n_rows; ++row) {
        const double value = read_value(f, values[row * stride]);
        ranked.is_nan[row] = value != value;
        ranked.x[row] = value != value ? 0.0 : value;
        ranked.is_zero[row] = ranked.x[row] >= -kZeroBand && ranked.x[row] <= kZeroBand;
    }
    rank_values_together(f, record, ranked.x, n_rows, ranked.ranks);
    const std::size_t n_byte_columns = sizeof(Lane) == 1 ? byte_columns(record.n_thresholds) : 1;
    for (std::size_t c = 0; c < record.n_columns; ++c) {
        const std::uint8_t rule = f.column_rules[record.first_column - 1 + c];
        Lane* out = columns + c * kRows;
        const Unsigned side = rule == kNanRight || rule == kZeroRight ? static_cast<Unsigned>(~Unsigned{0}) : Unsigned{0};
        if (n_byte_columns > 1) {
            fill_byte_columns(rule, side, ranked, n_rows, n_byte_columns, out, further);
            further += (n_byte_columns - 1) * kRows;
            continue;
        }
        const unsigned char nan_counts = rule != kNanIsZero, zero_counts = rule == kZeroLeft || rule == kZeroRight;
        for (std::size_t row = 0; row < n_rows; ++row) {
            const bool is_missing = ((ranked.is_nan[row] & nan_counts) | (ranked.is_zero[row] & zero_counts)) != 0;
            out[row] = static_cast<Lane>((is_missing ? side : static_cast<Unsigned>(ranked.ranks[row])) + kOffset);
        }
    }
    return further;
}

// Fill column 0 and those of the first n_records numeric features from rows of `stride` values.
template <typename Lane, typename Value>
void fill_numeric_block(const Forest& f, std::size_t n_records, const Value* values, std::size_t stride, std::size_t n_rows,
                        Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    RankedValues<Lane> ranked;
    for (std::size_t row = 0; row < kRows; ++row) columns[row] = kBias<Lane>;
    Lane* further = columns + f.n_columns * kRows;
    for (std::size_t i = 0; i < n_records; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        further = fill_numeric_feature(f, record, values + record.feature, stride, n_rows, ranked, columns + record.first_column * kRows,
                                       further);
    }
}

#if defined(__AVX2__)
#define MLRF_BYTE_SHUFFLE
// Columns of a dense feature: a byte shuffle looks up the byte of a set's bits with the row's code, and a mask picks the bit.
template <typename Lane>
void fill_dense_columns(const Forest& f, const CategoryFeature& record, const unsigned char* indices, Lane* columns) {
    constexpr std::size_t kRows = kSweepRows<Lane>;
    const std::size_t first = record.first_column - f.first_category_column;
    __m256i byte[kRows / 32], bit[kRows / 32];
    const __m256i powers = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
    for (std::size_t g = 0; g < kRows / 32; ++g) {
        const __m256i index = _mm256_load_si256(reinterpret_cast<const __m256i*>(indices + 32 * g));
        byte[g] = _mm256_and_si256(_mm256_srli_epi16(index, 3), _mm256_set1_epi8(15));
        bit[g] = _mm256_shuffle_epi8(powers, _mm256_and_si256(index, _mm256_set1_epi8(7)));
    }
    for (std::size_t c = 0; c < record.n_columns; ++c) {
        const __m256i bits = _mm256_broadcastsi128_si256(
            _mm_loadu_si128(reinterpret_cast<const __m128i*>(f.set_bits.data + (first + c) * kSetBytes)));
        Lane* out = columns + (record.first_column + c) * kRows;
        for (std::size_t g = 0; g < kRows / 32; ++g) {
            // -1 where the row goes right.
            const __m256i right = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bits, byte[g]), bit[g]), bit[g]);
            __m256i* target = reinterpret_cast<__m256i*>(out + 32 * g);
            if (sizeof(Lane) == 1) {
                _mm256_store_si256(target, _mm256_sub_epi8(_mm256_set1_epi8(-128), right));
            } else {
                const __m256i bias = _mm256_set1_epi16(-32768);
                _mm256_store_si256(target, _mm256_sub_epi16(bias, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(right))));
                const __m256i upper = _mm256_cvtepi8_epi16(_mm256_extracti128_si256(right, 1));
                _mm256_store_si256(target + 1, _mm256_sub_epi16(bias, upper));
            }
        }
    }
}
#endif

// A set's column is computed by subtracting the rows of each code in the set: a few vector subtractions per set instead of a
// look-up per row and set.
template <typename Lane, typename Value>
void fill_category_block(const Forest& f, const Value* values, std::size_t stride, std::size_t n_rows, const SweepScratch& scratch) {
    // Unsigned, so that a file whose set names a code twice wraps instead of overflowing.
    typedef typename Lanes<Lane>::UnsignedVector Vector;
    typedef typename Lanes<Lane>::Unsigned Unsigned;
    constexpr std::size_t kRows = kSweepRows<Lane>;
    constexpr std::size_t kGroups = kSweepBytes / sizeof(Vector);
    constexpr std::size_t kLanes = sizeof(Vector) / sizeof(Lane);
    Lane* code_rows = static_cast<Lane*>(scratch.code_rows);
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
#if defined(MLRF_BYTE_SHUFFLE)
        if (record.n_codes <= kDenseCodes) {
            unsigned char indices[kRows] __attribute__((aligned(64))) = {};
            for (std::size_t row = 0; row < n_rows; ++row)
                indices[row] = static_cast<unsigned char>(
                    find_code_index(f, record, read_value(f, values[row * stride + record.feature])));
            fill_dense_columns<Lane>(f, record, indices, static_cast<Lane*>(scratch.columns));
            continue;
        }
#endif
        std::uint32_t codes[kRows];
        Lane nan_rows[kRows] __attribute__((aligned(64))) = {};
        std::size_t n_codes = 0;
        for (std::size_t row = 0; row < n_rows; ++row) {
            const double x = read_value(f, values[row * stride + record.feature]);
            nan_rows[row] = x != x;
            const std::size_t index = find_code(f.category_codes.data + record.first_code, record.n_codes, f.no_code_up_to, x);
            if (index == record.n_codes) continue;
            const std::size_t code = record.first_code + index;
            if (scratch.code_slots[code] == 0) {
                codes[n_codes++] = static_cast<std::uint32_t>(code);
                scratch.code_slots[code] = static_cast<unsigned char>(n_codes);
                for (std::size_t r = 0; r < kRows; ++r) code_rows[n_codes * kRows + r] = 0;
            }
            code_rows[scratch.code_slots[code] * kRows + row] = 1;
        }
        const Vector* nan = reinterpret_cast<const Vector*>(nan_rows);
        for (std::size_t c = 0; c < record.n_columns; ++c) {
            const std::size_t index = record.first_column - f.first_category_column + c;
            Vector* out = reinterpret_cast<Vector*>(static_cast<Lane*>(scratch.columns) + (record.first_column + c) * kRows);
            Vector sum[kGroups];
            const Unsigned side_of_nan = static_cast<Unsigned>(1 - f.category_defaults[index]);
            for (std::size_t g = 0; g < kGroups; ++g)
                for (std::size_t lane = 0; lane < kLanes; ++lane) sum[g][lane] = static_cast<Unsigned>(kBias<Lane> + 1);
            for (std::size_t g = 0; g < kGroups; ++g) sum[g] -= nan[g] * side_of_nan;
            for (std::size_t s = f.set_offsets[index]; s < f.set_offsets[index + 1]; ++s) {
                const Vector* rows = reinterpret_cast<const Vector*>(code_rows + scratch.code_slots[f.set_codes[s]] * kRows);
                for (std::size_t g = 0; g < kGroups; ++g) sum[g] -= rows[g];
            }
            for (std::size_t g = 0; g < kGroups; ++g) out[g] = sum[g];
        }
        for (std::size_t code = 0; code < n_codes; ++code) scratch.code_slots[codes[code]] = 0;
    }
}

}  // namespace mlrf::MLRF_LEVEL
