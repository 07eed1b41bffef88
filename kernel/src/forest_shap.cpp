// Checks of what explanations read: chunks of trees, their nodes in runs, and their leaves.
#include "forest_checks.hpp"

namespace mlrf {

void check_shap(Forest& f) {
    for (std::size_t i = 0; i < f.shap_features.count; ++i)
        require(f.shap_features[i] < f.n_inputs && (i == 0 || f.shap_features[i - 1] < f.shap_features[i]),
                "the features of the explanation are out of order");
    const std::uint64_t n_sums = std::uint64_t{f.n_outputs} * f.shap_features.count;
    std::uint64_t next_node = 0, next_leaf = 0, next_run = 0;
    f.max_shap_slots = 0;
    f.max_shap_nodes = 0;
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
        const ShapChunk& chunk = f.shap_chunks[c];
        require(chunk.first_node == next_node && is_within(next_node, chunk.n_nodes, f.shap_nodes.count),
                "explained nodes end early");
        require(chunk.first_leaf == next_leaf && is_within(next_leaf, chunk.n_leaves, f.shap_leaves.count),
                "explained leaves end early");
        require(chunk.first_run == next_run && is_within(next_run, chunk.n_runs, f.shap_runs.count),
                "explained runs end early");
        require(chunk.n_roots <= chunk.n_nodes, "an explained chunk has more roots than nodes");
        require(chunk.n_quadrature >= 1 && chunk.n_quadrature <= kMaxQuadrature, "an explained chunk asks for too many lanes");
        const std::uint64_t n_slots = std::uint64_t{chunk.n_nodes} + chunk.n_leaves;
        require(n_slots <= 0x7FFFFFFFu, "an explained chunk is too large");
        std::uint32_t start = 0;
        for (std::uint32_t r = 0; r < chunk.n_runs; ++r) {
            const ShapRun& run = f.shap_runs[next_run + r];
            require(run.end >= start && run.end <= chunk.n_nodes && run.seen <= 1, "an explained run is out of order");
            for (std::uint32_t i = start; i < run.end; ++i) {
                const ShapNode& node = f.shap_nodes[next_node + i];
                require(node.share >= 0 && node.share <= 1, "a share of cover is not between 0 and 1");
                require(node.earlier_share >= 0 && node.earlier_share <= 1, "a share of cover is not between 0 and 1");
                require(node.left > i && node.left < n_slots && node.right > i && node.right < n_slots,
                        "an explained node has no child");
                require(node.column < f.n_columns, "an explained node tests no column");
                require(node.sum < n_sums, "an explained node has no feature");
                require((node.earlier == kNoEarlier) == (run.seen == 0), "an explained node is in the wrong run");
                require(run.seen == 0 || node.earlier / 2 < i, "an explained node has no earlier split");
            }
            start = run.end;
        }
        require(start == chunk.n_nodes, "an explained node is in no run");
        next_node += chunk.n_nodes;
        next_leaf += chunk.n_leaves;
        next_run += chunk.n_runs;
        if (n_slots > f.max_shap_slots) f.max_shap_slots = static_cast<std::uint32_t>(n_slots);
        if (chunk.n_nodes > f.max_shap_nodes) f.max_shap_nodes = chunk.n_nodes;
    }
    require(next_node == f.shap_nodes.count && next_leaf == f.shap_leaves.count && next_run == f.shap_runs.count,
            "an explained node has no chunk");
    require_finite(f.shap_leaves, "an explained leaf is not finite");
}

}  // namespace mlrf
