#include "sidecar/enforce/plan_cache.h"

#include <string>

#include "gtest/gtest.h"

namespace postern::sidecar {
namespace {

const std::vector<std::string> kPath{"app"};

PlanKey Key(std::string_view text) { return {1, 2, 3, 4, text, &kPath, "role"}; }

std::shared_ptr<const Plan> PlanFor(std::string_view text) {
  auto plan = std::make_shared<Plan>();
  plan->text = std::string(text);
  return plan;
}

TEST(PlanCache, FindsWhatWasInserted) {
  PlanCache cache(1 << 20);
  EXPECT_EQ(cache.Find(Key("a")), nullptr);
  const auto plan = PlanFor("a");
  cache.Insert(Key("a"), plan);
  EXPECT_EQ(cache.Find(Key("a")), plan);
  cache.Insert(Key("a"), PlanFor("a"));
  EXPECT_EQ(cache.Find(Key("a")), plan);
  EXPECT_EQ(cache.size(), 1U);
  cache.Clear();
  EXPECT_EQ(cache.Find(Key("a")), nullptr);
  EXPECT_EQ(cache.size(), 0U);
}

TEST(PlanCache, EveryPartOfTheKeyCounts) {
  PlanCache cache(1 << 20);
  cache.Insert(Key("a"), PlanFor("a"));
  const std::vector<std::string> other_path{"app", "public"};
  PlanKey key = Key("a");
  key.identity = 9;
  EXPECT_EQ(cache.Find(key), nullptr);
  key = Key("a");
  key.policy_revision = 9;
  EXPECT_EQ(cache.Find(key), nullptr);
  key = Key("a");
  key.catalog_generation = 9;
  EXPECT_EQ(cache.Find(key), nullptr);
  // Equal digests of what means something else: the session chooses these, so they are compared.
  key = Key("a");
  key.search_path = &other_path;
  EXPECT_EQ(cache.Find(key), nullptr);
  key = Key("a");
  key.role = "admin";
  EXPECT_EQ(cache.Find(key), nullptr);
}

TEST(PlanCache, ForgetsTheLeastRecentlyUsed) {
  PlanCache cache(16 * 64 * 1024);
  const auto kept = PlanFor("kept");
  cache.Insert(Key("kept"), kept);
  for (int i = 0; i < 5'000; ++i) {
    const std::string text = "SELECT " + std::to_string(i);
    cache.Insert(Key(text), PlanFor(text));
    ASSERT_EQ(cache.Find(Key("kept")), kept) << i;
  }
  EXPECT_EQ(cache.Find(Key("SELECT 0")), nullptr);
  EXPECT_LE(cache.size(), 16U * 32U);
}

TEST(PlanCache, HugeTextsAreNotKept) {
  PlanCache cache(16 * 64 * 1024);
  const std::string text(60 * 1024, 'x');
  cache.Insert(Key(text), PlanFor(text));
  EXPECT_EQ(cache.size(), 0U);
}

}  // namespace
}  // namespace postern::sidecar
