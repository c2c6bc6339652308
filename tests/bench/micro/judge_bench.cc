// What judging one statement costs the sidecar's thread: a text that was seen before, one that differs in a literal,
// and one that is new. Texts are made before the clock starts.
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "fmt/format.h"
#include "tests/unit/sidecar/enforce/enforce_testing.h"

namespace postern::sidecar {
namespace {

using testing::Shop;

std::string PointQuery(int64_t id) {
  return fmt::format("SELECT id, name, email FROM app.customers WHERE id = {}", id);
}

// A CTE over five joins, about 1 KB, with names of its own, so that no other text has its shape.
std::string Report(int64_t number) {
  return fmt::format(
      "WITH recent_orders_{0} AS (SELECT o.id, o.customer_id, o.status, c.name AS customer_name FROM app.orders o "
      "JOIN app.customers c ON c.id = o.customer_id WHERE o.status IN ('open', 'paid', 'shipped') AND o.customer_id "
      "BETWEEN 1000 AND 2000), totals_{0} AS (SELECT r.customer_id, r.customer_name, count(*) AS order_count, "
      "min(r.id) AS first_order, max(r.id) AS last_order FROM recent_orders_{0} r GROUP BY r.customer_id, "
      "r.customer_name HAVING count(*) > 3) SELECT t.customer_id, t.customer_name, t.order_count, first_order.status "
      "AS first_status, last_order.status AS last_status, CASE WHEN t.order_count > 10 THEN 'frequent' WHEN "
      "t.order_count > 5 THEN 'regular' ELSE 'occasional' END AS kind, coalesce(d.name, 'nobody') AS next_customer "
      "FROM "
      "totals_{0} t JOIN app.orders first_order ON first_order.id = t.first_order JOIN app.orders last_order ON "
      "last_order.id = t.last_order LEFT JOIN app.customers d ON d.id = t.customer_id + 1 LEFT JOIN app.audited a ON "
      "a.id = t.customer_id WHERE first_order.status <> last_order.status ORDER BY t.order_count DESC, t.customer_name "
      "LIMIT 100",
      number);
}

void CheckAllowed(benchmark::State& state, const Plan& plan) {
  if (plan.verdict == policy::Verdict::kAllow) return;
  const Plan::Refusal fields = plan.DenyFields();
  state.SkipWithError((fields.message + ": " + fields.detail).c_str());
}

void JudgeCached(benchmark::State& state) {
  Shop shop;
  const std::string text = PointQuery(7);
  CheckAllowed(state, *shop.Judge(text));
  for (auto _ : state) benchmark::DoNotOptimize(shop.Judge(text));
}
BENCHMARK(JudgeCached);

void JudgeNewLiteral(benchmark::State& state) {
  Shop shop;
  std::vector<std::string> texts;
  for (int64_t i = 0; i < 100'000; ++i) texts.push_back(PointQuery(i));
  CheckAllowed(state, *shop.Judge(PointQuery(-1)));
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(shop.Judge(texts[next]));
    if (++next == texts.size()) next = 0;
  }
}
BENCHMARK(JudgeNewLiteral);

void JudgeNewStatement(benchmark::State& state) {
  Shop shop;
  std::vector<std::string> texts;
  for (int64_t i = 0; i < 10'000; ++i) texts.push_back(Report(i));
  CheckAllowed(state, *shop.Judge(Report(1'000'000)));
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(shop.Judge(texts[next]));
    if (++next == texts.size()) {
      state.SkipWithError("texts come again, and would be found in the cache");
      break;
    }
  }
  state.counters["bytes"] = static_cast<double>(texts[0].size());
}
BENCHMARK(JudgeNewStatement)->Iterations(5'000);

void AnalyzeNewStatement(benchmark::State& state) {
  const Shop shop;
  const std::string text = Report(1);
  for (auto _ : state) benchmark::DoNotOptimize(sql::Analyze(text, *shop.enforcer.catalog(), shop.state));
}
BENCHMARK(AnalyzeNewStatement);

}  // namespace
}  // namespace postern::sidecar
