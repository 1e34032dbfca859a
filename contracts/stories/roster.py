"""The eight stories: owner, upstream stories, targets. Deploy order and KPI roll-up come from here."""

from __future__ import annotations

from contracts.story import RosterEntry, Target

_ENTRIES = (
    RosterEntry(
        code="US-MLE-01",
        slug="intent-classifier",
        owner="conversation-ml",
        upstream=(),
        targets=(
            Target(metric="accuracy", goal=">= 0.90", baseline="0.86"),
            Target(metric="p95_ms", goal="<= 15", baseline="22"),
        ),
    ),
    RosterEntry(
        code="US-MLE-02",
        slug="reranker",
        owner="search-ml",
        upstream=("embedding-adapter", "intent-classifier"),
        targets=(
            Target(metric="ndcg_at_10", goal=">= 0.78", baseline="0.71"),
            Target(metric="canary_ctr_uplift", goal=">= +3 %", baseline="0 %"),
        ),
    ),
    RosterEntry(
        code="US-MLE-03",
        slug="sentiment",
        owner="reviews-ml",
        upstream=("spam",),
        targets=(
            Target(metric="sentiment_macro_f1", goal=">= 0.85", baseline="0.81"),
            Target(metric="aspect_f1", goal=">= 0.74", baseline="0.66"),
        ),
    ),
    RosterEntry(
        code="US-MLE-04",
        slug="demand-forecast",
        owner="supply-ml",
        upstream=(),
        targets=(
            Target(metric="smape_7_day", goal="<= 14 %", baseline="19 %"),
            Target(metric="promo_uplift_error", goal="<= 25 %", baseline="41 %"),
        ),
    ),
    RosterEntry(
        code="US-MLE-05",
        slug="embedding-adapter",
        owner="search-ml",
        upstream=(),
        targets=(
            Target(metric="recall_at_10", goal=">= 0.92", baseline="0.86"),
            Target(metric="reindex_hours", goal="<= 4", baseline="11"),
        ),
    ),
    RosterEntry(
        code="US-MLE-06",
        slug="recommendation",
        owner="discovery-ml",
        upstream=("embedding-adapter", "intent-classifier", "sentiment", "demand-forecast", "reranker"),
        targets=(
            Target(metric="hit_rate_at_20", goal=">= 0.18", baseline="0.13"),
            Target(metric="cold_to_warm_ctr", goal=">= 0.80", baseline="0.42"),
        ),
    ),
    RosterEntry(
        code="US-MLE-07",
        slug="spam",
        owner="trust-ml",
        upstream=(),
        targets=(
            Target(metric="precision_at_95_recall", goal=">= 0.93", baseline="0.84"),
            Target(metric="adversarial_drift_lag_days", goal="<= 7", baseline="30+"),
        ),
    ),
    RosterEntry(
        code="US-MLE-08",
        slug="cover-art",
        owner="discovery-ml",
        upstream=(),
        targets=(
            Target(metric="style_top1", goal=">= 0.87", baseline="0.79"),
            Target(metric="ai_generated_auc", goal=">= 0.95", baseline="new"),
        ),
    ),
)

ROSTER: dict[str, RosterEntry] = {entry.slug: entry for entry in _ENTRIES}
