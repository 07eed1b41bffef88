// SHAP values of eight rows together: the mathematics of shap.hpp over the layout of shap_layout.hpp, with rows in the vector lanes
// and a few nodes of the quadrature rule per visit of a tree's node.
//
// A row gets the bits that shap_row.hpp gives it: each number comes from the same expression, and what is added to a sum is added in the
// same order. In lanes of rows, no lane is left over where a rule has 5 to 7 nodes, and the eight rows share what does not depend on
// a row: a node's numbers, and the divisions of a feature seen before.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "shap.hpp"
#include "shap_layout.hpp"
#include "shap_row.hpp"

namespace mlrf::MLRF_LEVEL {

constexpr int kRowsAVector = MLRF_VECTOR_BYTES / 8;
constexpr int kRowVectors = static_cast<int>(kExplainedRows) / kRowsAVector;
typedef typename Doubles<kRowsAVector>::Vector RowVector;

// Bits of rows, spread over vectors: `spread` in the lanes of set bits, else 0. (Shifting and comparing bits takes three more
// instructions a vector.)
template <typename Number>
struct SpreadBits {
    static constexpr int kPatterns = kRowsAVector < 8 ? 1 << kRowsAVector : 1;
    alignas(64) Number lanes[kPatterns][kRowsAVector];

    constexpr explicit SpreadBits(Number spread) : lanes() {
        for (int bits = 0; bits < kPatterns; ++bits)
            for (int lane = 0; lane < kRowsAVector; ++lane) lanes[bits][lane] = bits >> lane & 1 ? spread : Number{0};
    }
};

// The bits of the rows of vector v.
inline unsigned bits_of(unsigned rows, int v) { return rows >> v * kRowsAVector & ((1u << kRowsAVector) - 1); }

// 1 in the lanes of these rows, else 0.
inline RowVector count_rows(unsigned rows, int v) {
#if MLRF_VECTOR_BYTES == 64
    return reinterpret_cast<RowVector>(_mm512_maskz_mov_pd(static_cast<__mmask8>(bits_of(rows, v)), _mm512_set1_pd(1.0)));
#else
    static constexpr SpreadBits<double> kOnes(1.0);
    return *reinterpret_cast<const RowVector*>(kOnes.lanes[bits_of(rows, v)]);
#endif
}

// `left` in the lanes of these rows, else `right`.
inline RowVector choose_side(unsigned rows, int v, double left, double right) {
#if MLRF_VECTOR_BYTES == 64
    const __mmask8 mask = static_cast<__mmask8>(bits_of(rows, v));
    return reinterpret_cast<RowVector>(_mm512_mask_mov_pd(_mm512_set1_pd(right), mask, _mm512_set1_pd(left)));
#else
    typedef std::int64_t Mask __attribute__((vector_size(MLRF_VECTOR_BYTES), may_alias));
    static constexpr SpreadBits<std::int64_t> kMasks(-1);
    return *reinterpret_cast<const Mask*>(kMasks.lanes[bits_of(rows, v)]) ? RowVector{} + left : RowVector{} + right;
#endif
}

// A bit for each row whose column is at most `rank`.
template <typename Column>
inline unsigned rows_at_most(const Column* column, Column rank) {
#if defined(__SSE2__)
    if constexpr (sizeof(Column) == 2) {
        static_assert(kExplainedRows == 8, "as many columns as 16 bytes hold");
        const __m128i excess =
            _mm_subs_epu16(_mm_load_si128(reinterpret_cast<const __m128i*>(column)), _mm_set1_epi16(static_cast<short>(rank)));
        const __m128i is_left = _mm_cmpeq_epi16(excess, _mm_setzero_si128());
        return static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(is_left, _mm_setzero_si128())));
    }
#endif
    unsigned rows = 0;
    for (unsigned row = 0; row < kExplainedRows; ++row) rows |= static_cast<unsigned>(column[row] <= rank) << row;
    return rows;
}

// Which rows go left at a node, as its own test says.
template <typename Node, typename Column>
inline unsigned rows_left(const Forest& f, const Node& node, const Column* columns, const std::uint8_t* categories) {
    // Both are read, and one is chosen: a branch would be mispredicted.
    const bool is_category = node.column >= f.first_category_column;
    const std::size_t column = is_category ? 0 : node.column, category = is_category ? node.column - f.first_category_column : 0;
    const unsigned by_rank = rows_at_most<Column>(columns + column * kExplainedRows, static_cast<Column>(node.rank));
    const unsigned by_category = categories[category];
    return is_category ? by_category : by_rank;
}

// For each node of a chunk: which rows go left at it, and which are not excluded by an earlier split on its feature.
template <typename Index, typename Column>
void decide_rows(const Forest& f, const ShapLayout& layout, const LaidOutChunk& chunk, const ExplainedRowsScratch& scratch) {
    const UpperNode<Index>* upper = static_cast<const UpperNode<Index>*>(layout.upper) + chunk.first_upper;
    const LastNode<Index>* last = static_cast<const LastNode<Index>*>(layout.last) + chunk.first_last;
    const UpperRun* runs = layout.runs + chunk.first_run;
    const Column* columns = static_cast<const Column*>(scratch.columns);
    const std::uint8_t* categories = scratch.categories;
    std::uint8_t* left = scratch.left;
    std::uint8_t* counted = scratch.counted;
    const auto decide_first = [&](const auto& node, std::size_t slot, unsigned mirror) {
        left[slot] = static_cast<std::uint8_t>(rows_left(f, node, columns, categories) ^ (0u - mirror));
        counted[slot] = 0xFF;
    };
    const auto decide_seen = [&](const auto& node, std::size_t slot) {
        const std::size_t above = node.earlier / 2;
        const unsigned took = counted[above] & (left[above] ^ (0u - (node.earlier & 1u)));
        counted[slot] = static_cast<std::uint8_t>(took);
        left[slot] = static_cast<std::uint8_t>(took & rows_left(f, node, columns, categories));
    };
    std::size_t i = 0;
    for (std::size_t r = 0; r < chunk.n_runs; ++r) {
        const std::size_t end = runs[r].end;
        if (runs[r].kind == UpperKind::kFirst)
            for (; i < end; ++i) decide_first(upper[i], i, 0);
        else if (runs[r].kind == UpperKind::kFirstWithLeaf)
            for (; i < end; ++i) decide_first(upper[i], i, upper[i].right);
        else
            for (; i < end; ++i) decide_seen(upper[i], i);
    }
    std::size_t l = 0;
    for (; l < chunk.n_last - chunk.n_seen_last; ++l) decide_first(last[l], chunk.n_upper + l, 0);
    for (; l < chunk.n_last; ++l) decide_seen(last[l], chunk.n_upper + l);
}

// Numbers of one chunk for eight rows and kNodes nodes of the quadrature rule.
template <int kNodes>
struct RowSlot {
    RowVector at[kNodes][kRowVectors];
};

// Add the contributions of one chunk for kNodes nodes of the quadrature rule from `first` on; sums [kNodes][K * U][kExplainedRows].
template <int kNodes, typename Index>
void explain_chunk_rows(const ShapLayout& layout, const LaidOutChunk& chunk, std::size_t first, std::size_t n_sums,
                        const ExplainedRowsScratch& scratch, double* sums_of_nodes) {
    typedef RowSlot<kNodes> Slot;
    const Quadrature rule = scratch.rules[chunk.n_quadrature];
    double t[kNodes];
    double* moves[kNodes];
    double* factors[kNodes];
    RowVector* sums[kNodes];
    const double* earlier_shares = layout.earlier_shares + chunk.first_earlier;
    for (int k = 0; k < kNodes; ++k) {
        t[k] = rule.at[first + k];
        moves[k] = scratch.moves + k * layout.most_seen;
        factors[k] = scratch.factors + k * layout.most_seen;
        sums[k] = reinterpret_cast<RowVector*>(sums_of_nodes + k * n_sums * kExplainedRows);
        for (std::size_t e = 0; e < chunk.n_seen; ++e) {
            const double inverse = 1.0 / (earlier_shares[e] + (1.0 - earlier_shares[e]) * t[k]);
            moves[k][e] = t[k] * inverse;
            factors[k][e] = earlier_shares[e] * (inverse * inverse);
        }
    }
    const UpperNode<Index>* upper = static_cast<const UpperNode<Index>*>(layout.upper) + chunk.first_upper;
    const LastNode<Index>* last = static_cast<const LastNode<Index>*>(layout.last) + chunk.first_last;
    const UpperRun* runs = layout.runs + chunk.first_run;
    const std::uint8_t* left = scratch.left;
    const std::uint8_t* counted = scratch.counted;
    Slot* slots = reinterpret_cast<Slot*>(scratch.slots);

    for (std::size_t root = 0; root < chunk.n_roots; ++root)
        for (int k = 0; k < kNodes; ++k)
            for (int v = 0; v < kRowVectors; ++v)
                slots[layout.roots[chunk.first_root + root]].at[k][v] = RowVector{} + rule.weight[first + k];
    std::size_t i = 0, e = 0;
    for (std::size_t r = 0; r < chunk.n_runs; ++r) {
        const std::size_t end = runs[r].end;
        if (runs[r].kind == UpperKind::kFirst) {
            for (; i < end; ++i) {
                const UpperNode<Index>& node = upper[i];
                Slot& left_slot = slots[node.left];
                Slot& right_slot = slots[node.right];
                for (int v = 0; v < kRowVectors; ++v) {
                    const RowVector delta = count_rows(left[i], v) - node.share;
                    for (int k = 0; k < kNodes; ++k) {
                        const RowVector p = slots[i].at[k][v];
                        const RowVector to_left = p * (node.share + delta * t[k]);
                        left_slot.at[k][v] = to_left;
                        right_slot.at[k][v] = p - to_left;
                    }
                }
            }
        } else if (runs[r].kind == UpperKind::kFirstWithLeaf) {
            for (; i < end; ++i) {
                const UpperNode<Index>& node = upper[i];
                Slot& left_slot = slots[node.left];
                for (int v = 0; v < kRowVectors; ++v) {
                    const RowVector delta = count_rows(left[i], v) - node.share;
                    for (int k = 0; k < kNodes; ++k) left_slot.at[k][v] = slots[i].at[k][v] * (node.share + delta * t[k]);
                }
            }
        } else {
            for (; i < end; ++i, ++e) {
                const UpperNode<Index>& node = upper[i];
                Slot& left_slot = slots[node.left];
                Slot& right_slot = slots[node.right];
                for (int v = 0; v < kRowVectors; ++v) {
                    const RowVector delta = count_rows(left[i], v) - count_rows(counted[i], v) * node.share;
                    for (int k = 0; k < kNodes; ++k) {
                        const RowVector p = slots[i].at[k][v];
                        const RowVector to_left = p * (node.share + delta * moves[k][e]);
                        left_slot.at[k][v] = to_left;
                        right_slot.at[k][v] = p - to_left;
                    }
                }
            }
        }
    }
    Slot* last_slots = slots + chunk.n_upper;
    const std::uint8_t* last_left = left + chunk.n_upper;
    const std::uint8_t* last_counted = counted + chunk.n_upper;
    std::size_t l = 0;
    for (; l < chunk.n_last - chunk.n_seen_last; ++l) {
        const LastNode<Index>& node = last[l];
        for (int v = 0; v < kRowVectors; ++v) {
            const RowVector move = choose_side(last_left[l], v, node.moves[0], node.moves[1]);
            for (int k = 0; k < kNodes; ++k) {
                RowVector& sum = sums[k][std::size_t{node.sum} * kRowVectors + v];
                const RowVector p = last_slots[l].at[k][v];
                last_slots[l].at[k][v] = node.mean + move * t[k];
                sum += p * move;
            }
        }
    }
    for (std::size_t seen = e; l < chunk.n_last; ++l, ++seen) {
        const LastNode<Index>& node = last[l];
        for (int v = 0; v < kRowVectors; ++v) {
            const RowVector move = choose_side(last_left[l], v, node.moves[0], node.moves[1]) * count_rows(last_counted[l], v);
            for (int k = 0; k < kNodes; ++k) {
                RowVector& sum = sums[k][std::size_t{node.sum} * kRowVectors + v];
                const RowVector p = last_slots[l].at[k][v];
                last_slots[l].at[k][v] = node.mean + move * moves[k][seen];
                sum += p * (move * factors[k][seen]);
            }
        }
    }
    const double* const leaf_neighbours = layout.leaves + chunk.first_leaf;
    const double* leaves = leaf_neighbours + chunk.n_leaf_neighbours;
    for (std::size_t leaf = 0; leaf < chunk.n_leaves; ++leaf)
        for (int k = 0; k < kNodes; ++k)
            for (int v = 0; v < kRowVectors; ++v) last_slots[chunk.n_last + leaf].at[k][v] = RowVector{} + leaves[leaf];
    const double* leaf_neighbour = leaves;
    for (std::size_t r = chunk.n_runs; r-- > 0;) {
        const std::size_t begin = r == 0 ? 0 : runs[r - 1].end;
        if (runs[r].kind == UpperKind::kFirst) {
            while (i-- > begin) {
                const UpperNode<Index>& node = upper[i];
                const Slot& left_slot = slots[node.left];
                const Slot& right_slot = slots[node.right];
                for (int v = 0; v < kRowVectors; ++v) {
                    const RowVector delta = count_rows(left[i], v) - node.share;
                    for (int k = 0; k < kNodes; ++k) {
                        RowVector& sum = sums[k][std::size_t{node.sum} * kRowVectors + v];
                        const RowVector right = right_slot.at[k][v];
                        const RowVector difference = left_slot.at[k][v] - right;
                        sum += slots[i].at[k][v] * delta * difference;
                        slots[i].at[k][v] = right + (node.share + delta * t[k]) * difference;
                    }
                }
            }
        } else if (runs[r].kind == UpperKind::kFirstWithLeaf) {
            while (i-- > begin) {
                const UpperNode<Index>& node = upper[i];
                const double right = *--leaf_neighbour;
                const Slot& left_slot = slots[node.left];
                for (int v = 0; v < kRowVectors; ++v) {
                    const RowVector delta = count_rows(left[i], v) - node.share;
                    for (int k = 0; k < kNodes; ++k) {
                        RowVector& sum = sums[k][std::size_t{node.sum} * kRowVectors + v];
                        const RowVector difference = left_slot.at[k][v] - right;
                        sum += slots[i].at[k][v] * delta * difference;
                        slots[i].at[k][v] = right + (node.share + delta * t[k]) * difference;
                    }
                }
            }
        } else {
            while (i-- > begin) {
                const UpperNode<Index>& node = upper[i];
                const Slot& left_slot = slots[node.left];
                const Slot& right_slot = slots[node.right];
                --e;
                for (int v = 0; v < kRowVectors; ++v) {
                    const RowVector delta = count_rows(left[i], v) - count_rows(counted[i], v) * node.share;
                    for (int k = 0; k < kNodes; ++k) {
                        RowVector& sum = sums[k][std::size_t{node.sum} * kRowVectors + v];
                        const RowVector right = right_slot.at[k][v];
                        const RowVector difference = left_slot.at[k][v] - right;
                        sum += slots[i].at[k][v] * (delta * factors[k][e]) * difference;
                        slots[i].at[k][v] = right + (node.share + delta * moves[k][e]) * difference;
                    }
                }
            }
        }
        i = begin;
    }
}

// Add the contributions of the chunks whose rule kParts vectors of shap_row.hpp hold (the last: and of those with more) to
// contributions [n][F][K].
template <int kParts, typename Index, typename Column>
void explain_chunks_rows(const Forest& f, const ShapLayout& layout, std::size_t n_rows, const ExplainedRowsScratch& scratch,
                         double* contributions) {
    constexpr std::size_t kLanes = kParts * kPartLanes, kFewer = kLanes - kPartLanes;
    const std::size_t n_features = f.shap_features.count, n_sums = f.n_outputs * n_features;
    bool is_any = false;
    for (std::size_t c = 0; c < layout.n_chunks; ++c) {
        const LaidOutChunk& chunk = layout.chunks[c];
        if (chunk.n_quadrature <= kFewer || (chunk.n_quadrature > kLanes && kParts != kMostParts)) continue;
        if (!is_any)
            for (std::size_t i = 0; i < kLanes * n_sums * kExplainedRows; ++i) scratch.sums[i] = 0.0;
        is_any = true;
        decide_rows<Index, Column>(f, layout, chunk, scratch);
        // A node of the rule adds to the sums of its lane in shap_row.hpp, and no visit reaches beyond the last lane.
        for (std::size_t first = 0; first < chunk.n_quadrature;) {
            const std::size_t lane = first % kLanes, more = chunk.n_quadrature - first;
            const std::size_t left = more < kLanes - lane ? more : kLanes - lane;
            double* sums = scratch.sums + lane * n_sums * kExplainedRows;
            if (left == 1) {
                explain_chunk_rows<1, Index>(layout, chunk, first, n_sums, scratch, sums);
                first += 1;
            } else if (left == 2 || left == 4) {
                explain_chunk_rows<2, Index>(layout, chunk, first, n_sums, scratch, sums);
                first += 2;
            } else {
                explain_chunk_rows<kMostVisitNodes, Index>(layout, chunk, first, n_sums, scratch, sums);
                first += kMostVisitNodes;
            }
        }
    }
    if (!is_any) return;
    for (std::size_t row = 0; row < n_rows; ++row)
        for (std::size_t k = 0; k < f.n_outputs; ++k)
            for (std::size_t u = 0; u < n_features; ++u) {
                double sum = 0.0;
                for (std::size_t lane = 0; lane < kLanes; ++lane)
                    sum += scratch.sums[(lane * n_sums + k * n_features + u) * kExplainedRows + row];
                contributions[(row * f.n_inputs + f.shap_features[u]) * f.n_outputs + k] += sum / f.divisor * f.scale;
            }
}

// Transpose a matrix of 8 x 8 bits (Warren, Hacker's Delight, 7-3).
inline std::uint64_t transpose_bits(std::uint64_t x) {
    std::uint64_t swapped = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAu;
    x ^= swapped ^ (swapped << 7);
    swapped = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCu;
    x ^= swapped ^ (swapped << 14);
    swapped = (x ^ (x >> 28)) & 0x00000000F0F0F0F0u;
    return x ^ swapped ^ (swapped << 28);
}

// Which rows go left at each column of a dense feature, from the bits of the rows' codes. Writes up to 15 columns more.
inline void transpose_codes(const std::uint16_t* const* words, std::size_t n_words, std::uint8_t* left) {
    for (std::size_t w = 0; w < n_words; ++w) {
        std::uint64_t low = 0, high = 0;
        for (std::size_t row = 0; row < kExplainedRows; ++row) {
            low |= static_cast<std::uint64_t>(words[row][w] & 0xFF) << 8 * row;
            high |= static_cast<std::uint64_t>(words[row][w] >> 8) << 8 * row;
        }
        low = ~transpose_bits(low);
        high = ~transpose_bits(high);
        for (std::size_t c = 0; c < 8; ++c) {
            left[16 * w + c] = static_cast<std::uint8_t>(low >> 8 * c);
            left[16 * w + 8 + c] = static_cast<std::uint8_t>(high >> 8 * c);
        }
    }
}

// Which rows go left at each category column; `given` are the values of kExplainedRows rows.
template <typename Value>
void fill_categories(const Forest& f, const Value* const* given, std::uint8_t* left) {
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
        const std::size_t first = record.first_column - f.first_category_column;
        std::size_t index[kExplainedRows];
        for (std::size_t row = 0; row < kExplainedRows; ++row)
            index[row] = find_code_index(f, record, read_value(f, given[row][record.feature]));
        if (record.n_codes <= kDenseCodes) {
            const std::size_t n_words = (record.n_columns + std::size_t{15}) / 16;
            const std::uint16_t* words[kExplainedRows];
            for (std::size_t row = 0; row < kExplainedRows; ++row)
                words[row] = f.code_bits.data + record.first_word + index[row] * n_words;
            transpose_codes(words, n_words, left + first);
            continue;
        }
        for (std::size_t c = 0; c < record.n_columns; ++c) left[first + c] = 0;
        for (std::size_t row = 0; row < kExplainedRows; ++row) {
            const std::uint8_t bit = static_cast<std::uint8_t>(1u << row);
            if (index[row] > record.n_codes) {
                for (std::size_t c = first; c < first + record.n_columns; ++c)
                    if (f.category_defaults[c] == 0) left[c] = static_cast<std::uint8_t>(left[c] | bit);
            } else if (index[row] < record.n_codes) {
                const std::size_t code = record.first_code + index[row];
                for (std::size_t m = f.code_members[code]; m < f.code_members[code + 1]; ++m) {
                    std::uint8_t& rows = left[f.members[m] - f.first_category_column];
                    rows = static_cast<std::uint8_t>(rows | bit);
                }
            }
        }
    }
}

// Contributions [n][F][K] of at most kExplainedRows rows.
template <typename Index, typename Column, typename Value>
void explain_rows_together(const Forest& f, const ShapLayout& layout, const Value* values, std::size_t n_rows,
                           const ExplainedRowsScratch& scratch, double* contributions) {
    const Value* given[kExplainedRows];
    // Lanes without a row repeat the first.
    for (std::size_t row = 0; row < kExplainedRows; ++row) given[row] = values + (row < n_rows ? row * f.n_inputs : 0);
    for (std::size_t row = 0; row < kExplainedRows; ++row)
        fill_numeric_columns(f, f.numeric_features.count, given[row], static_cast<Column*>(scratch.columns) + row, kExplainedRows);
    fill_categories(f, given, scratch.categories);
    for (std::size_t i = 0; i < n_rows * f.n_inputs * f.n_outputs; ++i) contributions[i] = 0.0;
    explain_chunks_rows<1, Index, Column>(f, layout, n_rows, scratch, contributions);
    explain_chunks_rows<2, Index, Column>(f, layout, n_rows, scratch, contributions);
}

}  // namespace mlrf::MLRF_LEVEL
