// Plans that serve every text of a shape, so that a statement which differs from an earlier one in literals is not
// analysed again (common/sql/literals.h).
#pragma once

#include <memory>
#include <string_view>

#include "common/sql/literals.h"
#include "sidecar/enforce/plan_cache.h"

namespace postern::sidecar {

// True if a literal of the text is what a mask puts out. Writing it is refused, so such a text shares no plan.
bool NamesSentinel(std::string_view text, const sql::TextShape& shape);

// The places in `shape.literals`, of the plan's text, of the constants that the plan depends on. nullopt if it cannot
// serve other texts: only what is allowed does (an approval is for one text), and only statements of which analysis
// says what it read.
std::optional<std::vector<uint32_t>> ReadLiterals(const Plan& plan, const sql::TextShape& shape);

// `key.text` is the text. The first plan of a shape stands in the cache under the shape's own key. If it depends on
// literals, so do all of that shape, and the plan for those of a text stands under a key that has them.
std::shared_ptr<const Plan> FindByShape(PlanCache& cache, PlanKey key, const sql::TextShape& shape);
// `plan` has read_literals.
void InsertByShape(PlanCache& cache, PlanKey key, const sql::TextShape& shape, std::shared_ptr<const Plan> plan);

}  // namespace postern::sidecar
