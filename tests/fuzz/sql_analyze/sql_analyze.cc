// Any bytes are parsed and analysed without a crash, and what comes back keeps its promises.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/sql/analysis.h"
#include "tests/unit/common/sql/catalog_text.h"

namespace {

constexpr std::string_view kCatalog = R"(
table 1 app.customers (id, email, name, both generated)
partitioned 2 app.events (id, at)
child 3 app.events_1 (at, id) of app.events
view 4 app.v (id, mail) as SELECT c.id, c.email AS mail FROM app.customers c
function 5 app.f stable sql as SELECT c.email FROM app.customers c WHERE c.id = $1
function 6 app.g volatile plpgsql
sequence 7 app.s (last_value)
)";

void Check(bool promise) {
  if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::shared_ptr<const postern::sql::Catalog> catalog = postern::sql::CatalogFromText(kCatalog);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  postern::sql::SessionView session;
  session.search_path = {"app"};
  postern::sql::AnalysisOptions options;
  options.limits.max_depth = 100;
  const auto analysis = postern::sql::Analyze(text, *catalog, session, options);
  if (!analysis.ok()) return 0;
  int end = 0;
  for (const postern::sql::Statement& statement : analysis->statements) {
    Check(statement.begin >= end && statement.length >= 0);
    end = statement.begin + statement.length;
    Check(end <= static_cast<int>(size));
    // What was refused carries nothing that could be judged by mistake.
    Check(!statement.unanalysable.has_value() || (statement.effects.empty() && statement.outputs.empty()));
    // Everything else does something: only a query of constants alone has no effect.
    Check(statement.unanalysable.has_value() || !statement.effects.empty() ||
          statement.kind == postern::sql::StatementKind::kQuery ||
          statement.kind == postern::sql::StatementKind::kCopy || statement.kind == postern::sql::StatementKind::kDml);
  }
  return 0;
}
