#include "google/protobuf/util/time_util.h"
#include "tests/unit/controlplane/audit/audit_fixture.h"

namespace postern::audit {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(RelationsOf, TakesSchemaAndNameOnce) {
  v1::AuditRecord record;
  record.add_effects("select app.orders (id, status)");
  record.add_effects("update app.orders (status)");
  record.add_effects("select app.customers (*) [derived]");
  record.add_effects("delete app.tmp");
  record.add_effects("begin");
  record.add_effects("set (x)");
  EXPECT_THAT(RelationsOf(record), ElementsAre("app.orders", "app.customers", "app.tmp"));
}

class AuditQuery : public AuditFixture {
 protected:
  AuditQuery() {
    v1::AuditRecord a = Statement("select * from app.orders where id = 1");
    a.set_agent("bot");
    a.set_on_behalf_of("ann@example.com");
    a.set_grant_id("grt_1");
    a.set_session_id("ses_1");
    a.set_target("orders");
    a.set_decision("allow");
    a.add_effects("select app.orders (*)");
    v1::AuditRecord b = a;
    b.set_sql("drop table app.orders");
    b.set_decision("deny");
    b.clear_effects();
    b.add_effects("drop app.orders");
    v1::AuditRecord c = Statement("select 1");
    c.set_agent("other");
    c.set_session_id("ses_2");
    c.set_approval_id("apr_1");
    c.set_decision("hold");
    c.mutable_time()->set_seconds(1'750'000'100);
    for (const auto& record : {a, b, c}) EXPECT_TRUE(log_->Record(record).ok());
  }
  // Leaves found, newest first.
  std::vector<int64_t> Find(const std::function<void(v1::AuditFilter&)>& set) {
    v1::QueryAuditRequest request;
    set(*request.mutable_filter());
    auto page = log_->Query(request);
    EXPECT_TRUE(page.ok()) << page.status();
    std::vector<int64_t> leaves;
    for (const auto& record : page->records()) leaves.push_back(record.leaf_index());
    return leaves;
  }
};

TEST_F(AuditQuery, FiltersByEachField) {
  EXPECT_THAT(Find([](auto&) {}), ElementsAre(2, 1, 0));
  EXPECT_THAT(Find([](auto& f) { f.set_agent("bot"); }), ElementsAre(1, 0));
  EXPECT_THAT(Find([](auto& f) { f.set_on_behalf_of("ann@example.com"); }), ElementsAre(1, 0));
  EXPECT_THAT(Find([](auto& f) { f.set_grant_id("grt_1"); }), ElementsAre(1, 0));
  EXPECT_THAT(Find([](auto& f) { f.set_session_id("ses_2"); }), ElementsAre(2));
  EXPECT_THAT(Find([](auto& f) { f.set_approval_id("apr_1"); }), ElementsAre(2));
  EXPECT_THAT(Find([](auto& f) { f.set_target("orders"); }), ElementsAre(1, 0));
  EXPECT_THAT(Find([](auto& f) { f.set_decision("deny"); }), ElementsAre(1));
  EXPECT_THAT(Find([](auto& f) { f.set_kind(v1::STATEMENT_INTENT); }), ElementsAre(2, 1, 0));
  EXPECT_THAT(Find([](auto& f) { f.set_kind(v1::HOLD); }), IsEmpty());
  EXPECT_THAT(Find([](auto& f) { f.set_relation("app.orders"); }), ElementsAre(1, 0));
  EXPECT_THAT(Find([](auto& f) { f.set_relation("app.order"); }), IsEmpty());
  EXPECT_THAT(Find([](auto& f) { f.mutable_since()->set_seconds(1'750'000'100); }), ElementsAre(2));
  EXPECT_THAT(Find([](auto& f) { f.mutable_until()->set_seconds(1'750'000'100); }), ElementsAre(1, 0));
  EXPECT_THAT(Find([](auto& f) {
                f.set_agent("bot");
                f.set_decision("allow");
                f.set_relation("app.orders");
              }),
              ElementsAre(0));
}

TEST_F(AuditQuery, TextIsOfTheStatementOnly) {
  EXPECT_THAT(Find([](auto& f) { f.set_text("drop table"); }), ElementsAre(1));
  EXPECT_THAT(Find([](auto& f) { f.set_text("ann@example"); }), IsEmpty());
  EXPECT_THAT(Find([](auto& f) { f.set_text("%"); }), IsEmpty());
}

TEST_F(AuditQuery, PagesInBothDirectionsSeeEachRecordOnce) {
  ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 20)).status.ok());
  for (const bool oldest_first : {true, false}) {
    v1::QueryAuditRequest request;
    request.set_page_size(4);
    request.set_oldest_first(oldest_first);
    std::vector<int64_t> leaves;
    do {
      const auto page = log_->Query(request);
      ASSERT_TRUE(page.ok());
      ASSERT_LE(page->records_size(), 4);
      for (const auto& record : page->records()) leaves.push_back(record.leaf_index());
      request.set_page_token(page->next_page_token());
      // What comes in between does not shift the pages.
      if (!oldest_first) {
        ASSERT_TRUE(log_->Record(Statement("meanwhile")).ok());
      }
    } while (!request.page_token().empty() && leaves.size() < 100);
    if (!oldest_first) std::reverse(leaves.begin(), leaves.end());
    std::vector<int64_t> expected(23);
    for (int i = 0; i < 23; ++i) expected[i] = i;
    EXPECT_EQ(leaves, expected);
  }
}

TEST_F(AuditQuery, APageEndsBeforeItIsTooLargeForAMessage) {
  constexpr size_t kClientsLimit = size_t{4} << 20;
  // The log writes what is long in several records, and each counts.
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(log_->Record(Statement(std::string(1'000'000, 'x'))).ok());
  std::vector<int64_t> expected(static_cast<size_t>(log_->size()));
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = static_cast<int64_t>(i);
  for (const bool oldest_first : {true, false}) {
    v1::QueryAuditRequest request;
    request.set_page_size(1000);
    request.set_oldest_first(oldest_first);
    std::vector<int64_t> leaves;
    int pages = 0;
    do {
      const auto page = log_->Query(request);
      ASSERT_TRUE(page.ok()) << page.status();
      EXPECT_LT(page->ByteSizeLong(), kClientsLimit);
      for (const auto& record : page->records()) leaves.push_back(record.leaf_index());
      request.set_page_token(page->next_page_token());
      ++pages;
    } while (!request.page_token().empty() && pages < 100);
    if (!oldest_first) std::reverse(leaves.begin(), leaves.end());
    EXPECT_EQ(leaves, expected);
    EXPECT_GE(pages, 3);
    EXPECT_LE(pages, 6);
  }
}

TEST_F(AuditQuery, AScanHoldsNoMoreThanItsShareOfMemory) {
  for (int i = 0; i < 24; ++i) ASSERT_TRUE(log_->Record(Statement(std::string(1'000'000, 'x'))).ok());
  int64_t seen = 0;
  int batches = 0;
  for (int64_t at = 0; at < log_->size(); ++batches) {
    const auto batch = log_->Scan({}, at, log_->size(), 1000);
    ASSERT_TRUE(batch.ok());
    size_t bytes = 0;
    for (const auto& record : batch->records) bytes += record.ByteSizeLong();
    EXPECT_LE(bytes, size_t{18} << 20);
    seen += std::ssize(batch->records);
    at = batch->next_leaf;
  }
  EXPECT_EQ(seen, log_->size());
  EXPECT_EQ(batches, 2);
}

TEST_F(AuditQuery, APageTokenOfAnotherQueryIsRefused) {
  v1::QueryAuditRequest request;
  request.set_page_size(1);
  request.set_page_token(log_->Query(request)->next_page_token());
  EXPECT_TRUE(log_->Query(request).ok());
  request.mutable_filter()->set_agent("bot");
  EXPECT_EQ(ReasonOf(log_->Query(request).status()), "PAGE_TOKEN_INVALID");
  request.set_page_token("rubbish");
  EXPECT_EQ(ReasonOf(log_->Query(request).status()), "PAGE_TOKEN_INVALID");
  request.clear_page_token();
  request.set_page_size(1001);
  EXPECT_EQ(ReasonOf(log_->Query(request).status()), "INVALID_ARGUMENT");
}

TEST_F(AuditQuery, ScanGoesInLeafOrderAndSaysWhereToGoOn) {
  v1::AuditFilter filter;
  filter.set_agent("bot");
  auto batch = log_->Scan(filter, 0, log_->size(), 1);
  ASSERT_TRUE(batch.ok());
  ASSERT_THAT(batch->records, SizeIs(1));
  EXPECT_EQ(batch->next_leaf, 1);
  batch = log_->Scan(filter, batch->next_leaf, log_->size(), 10);
  ASSERT_THAT(batch->records, SizeIs(1));
  EXPECT_EQ(batch->next_leaf, 3);
}

TEST_F(AuditQuery, ExportsFromAnyLeafVerify) {
  for (int i = 0; i < 12; ++i) {
    ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 3)).status.ok());
    ASSERT_TRUE(log_->CheckpointNow().ok());
  }
  for (int64_t from = 0; from <= log_->size(); ++from) {
    const VerifyReport report = Verify(from);
    EXPECT_TRUE(report.ok()) << from << ": " << report.finding->text;
    EXPECT_EQ(report.records, log_->size() - from);
  }
  const auto nothing = [](const v1::ExportAuditResponse&) { return true; };
  EXPECT_EQ(ReasonOf(log_->Export(-1, nothing)), "INVALID_ARGUMENT");
  EXPECT_EQ(ReasonOf(log_->Export(log_->size() + 1, nothing)), "INVALID_ARGUMENT");
}

TEST_F(AuditQuery, AnExportCarriesTheOlderCheckpoints) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(log_->Ingest("sdc_a", More("sdc_a", 2)).status.ok());
    ASSERT_TRUE(log_->CheckpointNow().ok());
  }
  std::vector<int64_t> sizes;
  ASSERT_TRUE(log_->Export(0,
                           [&](const v1::ExportAuditResponse& item) {
                             if (item.has_checkpoint()) sizes.push_back(item.checkpoint().tree_size());
                             return true;
                           })
                  .ok());
  EXPECT_THAT(sizes, ::testing::IsSupersetOf({5, 7}));
  EXPECT_THAT(sizes, ::testing::Not(::testing::Contains(9)));
}

}  // namespace
}  // namespace postern::audit
