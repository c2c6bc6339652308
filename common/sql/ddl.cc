// Statements that define, change or drop objects, and maintenance.
#include <algorithm>

#include "common/sql/analyzer.h"
#include "common/sql/node_table.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

bool IsRelationType(::ObjectType type) {
  return type == OBJECT_TABLE || type == OBJECT_VIEW || type == OBJECT_MATVIEW || type == OBJECT_SEQUENCE ||
         type == OBJECT_FOREIGN_TABLE;
}

// What changing an object of this type amounts to, other than `otherwise`.
Operation OperationOn(::ObjectType type, Operation otherwise) {
  switch (type) {
    case OBJECT_ACCESS_METHOD:
    case OBJECT_AMOP:
    case OBJECT_AMPROC:
    case OBJECT_CAST:
    case OBJECT_CONVERSION:
    case OBJECT_EVENT_TRIGGER:
    case OBJECT_LANGUAGE:
    case OBJECT_OPCLASS:
    case OBJECT_OPERATOR:
    case OBJECT_OPFAMILY:
    case OBJECT_RULE:
    case OBJECT_TRANSFORM:
    case OBJECT_TRIGGER:
    case OBJECT_TSPARSER:
    case OBJECT_TSTEMPLATE:
      return Operation::kCreateFunction;
    case OBJECT_AGGREGATE:
    case OBJECT_FUNCTION:
    case OBJECT_PROCEDURE:
    case OBJECT_ROUTINE:
      return otherwise == Operation::kAlter ? Operation::kCreateFunction : otherwise;
    case OBJECT_DATABASE:
    case OBJECT_TABLESPACE:
      return Operation::kDatabaseAdmin;
    case OBJECT_EXTENSION:
      return Operation::kExtension;
    case OBJECT_FDW:
    case OBJECT_FOREIGN_SERVER:
    case OBJECT_USER_MAPPING:
      return Operation::kForeign;
    case OBJECT_LARGEOBJECT:
      return Operation::kUnsafeFunction;
    case OBJECT_POLICY:
    case OBJECT_DEFACL:
      return Operation::kGrant;
    case OBJECT_PUBLICATION:
    case OBJECT_PUBLICATION_NAMESPACE:
    case OBJECT_PUBLICATION_REL:
    case OBJECT_SUBSCRIPTION:
      return Operation::kReplication;
    case OBJECT_PARAMETER_ACL:
    case OBJECT_ROLE:
      return Operation::kRoleAdmin;
    default:
      return otherwise;
  }
}

ObjectKind KindOf(::ObjectType type) {
  switch (type) {
    case OBJECT_SCHEMA:
      return ObjectKind::kSchema;
    case OBJECT_AGGREGATE:
    case OBJECT_FUNCTION:
    case OBJECT_PROCEDURE:
    case OBJECT_ROUTINE:
      return ObjectKind::kFunction;
    default:
      return ObjectKind::kOther;
  }
}

QualifiedName NameOf(const ::Node* object) {
  if (object == nullptr) return {};
  switch (nodeTag(object)) {
    case T_String:
      return {{}, StringOf(object)};
    case T_List:
      return SplitName(reinterpret_cast<const ::List*>(object));
    case T_TypeName:
      return SplitName(As<::TypeName>(object)->names);
    case T_ObjectWithArgs:
      return SplitName(As<::ObjectWithArgs>(object)->objname);
    case T_RangeVar:
      return {View(As<::RangeVar>(object)->schemaname), View(As<::RangeVar>(object)->relname)};
    default:
      return {};
  }
}

// The table of [schema,] table, name: columns, constraints, triggers, rules and policies are named so.
QualifiedName TableOf(const ::Node* object) {
  if (object == nullptr || nodeTag(object) != T_List) return {};
  const Items parts(object);
  QualifiedName name;
  if (parts.size() >= 2) name.name = StringOf(parts[parts.size() - 2]);
  if (parts.size() >= 3) name.schema = StringOf(parts[parts.size() - 3]);
  return name;
}

bool IsPartOfTable(::ObjectType type) {
  return type == OBJECT_COLUMN || type == OBJECT_TABCONSTRAINT || type == OBJECT_TRIGGER || type == OBJECT_RULE ||
         type == OBJECT_POLICY;
}

std::string TagOf(std::string_view verb, ::ObjectType type) { return fmt::format("{} {}", verb, ObjectTypeWord(type)); }

// What a one-effect statement is about, as far as it has a name.
QualifiedName SimpleName(const ::Node* node) {
  const auto role = [](const ::RoleSpec* spec) { return spec == nullptr ? std::string_view() : View(spec->rolename); };
  switch (nodeTag(node)) {
    case T_CreateFunctionStmt:
      return SplitName(As<::CreateFunctionStmt>(node)->funcname);
    case T_AlterFunctionStmt:
      return SplitName(As<::AlterFunctionStmt>(node)->func->objname);
    case T_CreateRoleStmt:
      return {{}, View(As<::CreateRoleStmt>(node)->role)};
    case T_AlterRoleStmt:
      return {{}, role(As<::AlterRoleStmt>(node)->role)};
    case T_AlterRoleSetStmt:
      return {{}, role(As<::AlterRoleSetStmt>(node)->role)};
    case T_CreatedbStmt:
      return {{}, View(As<::CreatedbStmt>(node)->dbname)};
    case T_DropdbStmt:
      return {{}, View(As<::DropdbStmt>(node)->dbname)};
    case T_AlterDatabaseStmt:
      return {{}, View(As<::AlterDatabaseStmt>(node)->dbname)};
    case T_AlterDatabaseSetStmt:
      return {{}, View(As<::AlterDatabaseSetStmt>(node)->dbname)};
    case T_CreateExtensionStmt:
      return {{}, View(As<::CreateExtensionStmt>(node)->extname)};
    case T_AlterExtensionStmt:
      return {{}, View(As<::AlterExtensionStmt>(node)->extname)};
    case T_AlterExtensionContentsStmt:
      return {{}, View(As<::AlterExtensionContentsStmt>(node)->extname)};
    case T_CreatePublicationStmt:
      return {{}, View(As<::CreatePublicationStmt>(node)->pubname)};
    case T_AlterPublicationStmt:
      return {{}, View(As<::AlterPublicationStmt>(node)->pubname)};
    case T_CreateSubscriptionStmt:
      return {{}, View(As<::CreateSubscriptionStmt>(node)->subname)};
    case T_AlterSubscriptionStmt:
      return {{}, View(As<::AlterSubscriptionStmt>(node)->subname)};
    case T_DropSubscriptionStmt:
      return {{}, View(As<::DropSubscriptionStmt>(node)->subname)};
    case T_CreateForeignServerStmt:
      return {{}, View(As<::CreateForeignServerStmt>(node)->servername)};
    case T_AlterForeignServerStmt:
      return {{}, View(As<::AlterForeignServerStmt>(node)->servername)};
    case T_ImportForeignSchemaStmt:
      return {{}, View(As<::ImportForeignSchemaStmt>(node)->server_name)};
    case T_CreateEventTrigStmt:
      return {{}, View(As<::CreateEventTrigStmt>(node)->trigname)};
    case T_AlterEventTrigStmt:
      return {{}, View(As<::AlterEventTrigStmt>(node)->trigname)};
    case T_CreateFdwStmt:
      return {{}, View(As<::CreateFdwStmt>(node)->fdwname)};
    case T_AlterFdwStmt:
      return {{}, View(As<::AlterFdwStmt>(node)->fdwname)};
    case T_CreateUserMappingStmt:
      return {{}, View(As<::CreateUserMappingStmt>(node)->servername)};
    case T_AlterUserMappingStmt:
      return {{}, View(As<::AlterUserMappingStmt>(node)->servername)};
    case T_DropUserMappingStmt:
      return {{}, View(As<::DropUserMappingStmt>(node)->servername)};
    case T_CreateTableSpaceStmt:
      return {{}, View(As<::CreateTableSpaceStmt>(node)->tablespacename)};
    case T_AlterTableSpaceOptionsStmt:
      return {{}, View(As<::AlterTableSpaceOptionsStmt>(node)->tablespacename)};
    case T_DropTableSpaceStmt:
      return {{}, View(As<::DropTableSpaceStmt>(node)->tablespacename)};
    case T_CreatePLangStmt:
      return {{}, View(As<::CreatePLangStmt>(node)->plname)};
    case T_CreateAmStmt:
      return {{}, View(As<::CreateAmStmt>(node)->amname)};
    case T_CreateConversionStmt:
      return SplitName(As<::CreateConversionStmt>(node)->conversion_name);
    case T_CreateOpClassStmt:
      return SplitName(As<::CreateOpClassStmt>(node)->opclassname);
    case T_CreateOpFamilyStmt:
      return SplitName(As<::CreateOpFamilyStmt>(node)->opfamilyname);
    case T_AlterOpFamilyStmt:
      return SplitName(As<::AlterOpFamilyStmt>(node)->opfamilyname);
    case T_AlterOperatorStmt:
      return SplitName(As<::AlterOperatorStmt>(node)->opername->objname);
    case T_AlterTSDictionaryStmt:
      return SplitName(As<::AlterTSDictionaryStmt>(node)->dictname);
    case T_AlterTSConfigurationStmt:
      return SplitName(As<::AlterTSConfigurationStmt>(node)->cfgname);
    case T_AlterCollationStmt:
      return SplitName(As<::AlterCollationStmt>(node)->collname);
    case T_AlterStatsStmt:
      return SplitName(As<::AlterStatsStmt>(node)->defnames);
    case T_CreateEnumStmt:
      return SplitName(As<::CreateEnumStmt>(node)->typeName);
    case T_AlterEnumStmt:
      return SplitName(As<::AlterEnumStmt>(node)->typeName);
    case T_CreateRangeStmt:
      return SplitName(As<::CreateRangeStmt>(node)->typeName);
    case T_AlterTypeStmt:
      return SplitName(As<::AlterTypeStmt>(node)->typeName);
    case T_AlterSystemStmt:
      return {{}, View(As<::AlterSystemStmt>(node)->setstmt->name)};
    case T_LoadStmt:
      return {{}, View(As<::LoadStmt>(node)->filename)};
    default:
      return {};
  }
}

}  // namespace

void Analyzer::Simple(const ::Node* node) {
  const StatementRow* row = StatementRowOf(nodeTag(node));
  const QualifiedName name = SimpleName(node);
  result_.outputs_known = true;
  if (nodeTag(node) == T_CreateFunctionStmt && As<::CreateFunctionStmt>(node)->is_procedure) {
    result_.tag = "CREATE PROCEDURE";
  }
  if (nodeTag(node) == T_GrantRoleStmt && !As<::GrantRoleStmt>(node)->is_grant) result_.tag = "REVOKE ROLE";
  const ObjectKind kind = name.name.empty()                              ? ObjectKind::kNone
                          : row->operation == Operation::kCreateFunction ? ObjectKind::kFunction
                                                                         : ObjectKind::kOther;
  EffectIndex(row->operation, kind, name.schema, name.name, 0, false, -1);
}

void Analyzer::NoteCreate(const ::RangeVar* var) {
  const std::string_view name = View(var->relname);
  const std::string_view schema = View(var->schemaname);
  if (name.starts_with("pg_")) Fail(fmt::format("the name {} is the system's", name));
  if (schema == "pg_catalog" || schema == "information_schema") Fail("it creates an object in a system schema");
  if (var->relpersistence == 't' || schema.starts_with("pg_temp")) {
    for (const Relation& relation : catalog_.relations()) {
      if (relation.name != name) continue;
      Fail(
          fmt::format("a temporary {} would stand before {}.{} in every later statement", name, relation.schema, name));
      break;
    }
    EffectIndex(Operation::kCreate, ObjectKind::kRelation, "pg_temp", name, 0, false, var->location);
    return;
  }
  std::string_view where = schema;
  for (const std::string& candidate : message_.search_path) {
    if (!where.empty()) break;
    if (candidate != "pg_catalog" && (catalog_.HasSchema(candidate) || message_.options.open_catalog))
      where = candidate;
  }
  if (where.empty()) Fail(fmt::format("no schema is selected to create {} in", name));
  EffectIndex(Operation::kCreate, ObjectKind::kRelation, where, name, 0, false, var->location);
}

const Relation* Analyzer::NoteRelation(Operation operation, const ::RangeVar* var, bool missing_ok) {
  return NoteRelationName(operation, View(var->schemaname), View(var->relname), missing_ok, var->location);
}

const Relation* Analyzer::NoteRelationName(Operation operation, std::string_view schema, std::string_view name,
                                           bool missing_ok, int location) {
  bool is_system = false;
  const Relation* relation = ResolveName(schema, name, &is_system);
  if (relation != nullptr) {
    if (is_system && operation != Operation::kSelect) Fail(fmt::format("it changes the system catalog {}", name));
    EffectIndex(operation, ObjectKind::kRelation, relation->schema, relation->name, relation->oid, false, location);
    NoteTouched(*relation, true);
    return relation;
  }
  if (is_system) {
    Fail(fmt::format("it changes the system catalog {}", name));
    return nullptr;
  }
  if (!missing_ok && !message_.options.open_catalog) {
    Fail(fmt::format("relation {}{}{} does not exist or is not visible", schema, schema.empty() ? "" : ".", name));
    return nullptr;
  }
  // IF EXISTS of what is not there does nothing; should it appear meanwhile, it is in one of these.
  if (!schema.empty() || message_.search_path.empty()) {
    EffectIndex(operation, ObjectKind::kRelation, schema, name, 0, false, location);
    return nullptr;
  }
  for (const std::string& candidate : message_.search_path) {
    EffectIndex(operation, ObjectKind::kRelation, candidate, name, 0, false, location);
    if (!missing_ok) break;
  }
  return nullptr;
}

void Analyzer::NoteObject(Operation operation, ::ObjectType type, const ::Node* object) {
  operation = OperationOn(type, operation);
  if (IsPartOfTable(type)) {
    const QualifiedName table = TableOf(object);
    NoteRelationName(operation, table.schema, table.name, false, -1);
    return;
  }
  const QualifiedName name = NameOf(object);
  if (IsRelationType(type)) {
    NoteRelationName(operation, name.schema, name.name, false, -1);
    return;
  }
  EffectIndex(operation, name.name.empty() ? ObjectKind::kNone : KindOf(type), name.schema, name.name, 0, false, -1);
}

void Analyzer::CreateSchema(const ::Node* node) {
  const auto* create = As<::CreateSchemaStmt>(node);
  result_.outputs_known = true;
  if (create->schemaElts != nullptr) Fail("CREATE SCHEMA with objects inside; create them one by one");
  NoteNamed(Operation::kCreate, View(create->schemaname), ObjectKind::kSchema);
}

void Analyzer::CreateRule(const ::Node* node) {
  result_.outputs_known = true;
  NoteRelation(Operation::kCreateFunction, As<::RuleStmt>(node)->relation, false);
}

void Analyzer::CreateTrigger(const ::Node* node) {
  result_.outputs_known = true;
  NoteRelation(Operation::kCreateFunction, As<::CreateTrigStmt>(node)->relation, false);
  NoteFunction(As<::CreateTrigStmt>(node)->funcname, Operation::kCreateFunction);
}

void Analyzer::CreateDomain(const ::Node* node) {
  const auto* domain = As<::CreateDomainStmt>(node);
  result_.outputs_known = true;
  const QualifiedName name = SplitName(domain->domainname);
  EffectIndex(Operation::kCreate, ObjectKind::kOther, name.schema, name.name, 0, false, -1);
  Range* value = NewRange();
  value->columns.push_back({"value", {}});
  Scope scope(nullptr);
  scope.segments.push_back({value, {}});
  for (const ::Node* constraint : Items(domain->constraints)) {
    ConstraintDefinition(As<::Constraint>(constraint), scope);
  }
}

void Analyzer::AlterDomain(const ::Node* node) {
  const auto* domain = As<::AlterDomainStmt>(node);
  result_.outputs_known = true;
  const QualifiedName name = SplitName(domain->typeName);
  EffectIndex(Operation::kAlter, ObjectKind::kOther, name.schema, name.name, 0, false, -1);
  if (domain->def == nullptr) return;
  Range* value = NewRange();
  value->columns.push_back({"value", {}});
  Scope scope(nullptr);
  scope.segments.push_back({value, {}});
  if (nodeTag(domain->def) == T_Constraint) {
    ConstraintDefinition(As<::Constraint>(domain->def), scope);
  } else {
    StoredExpression(domain->def, scope);
  }
}

void Analyzer::CompositeType(const ::Node* node) {
  result_.outputs_known = true;
  NoteCreate(As<::CompositeTypeStmt>(node)->typevar);
}

void Analyzer::Drop(const ::Node* node) {
  const auto* drop = As<::DropStmt>(node);
  result_.tag = TagOf("DROP", drop->removeType);
  result_.outputs_known = true;
  for (const ::Node* object : Items(drop->objects)) {
    if (drop->removeType == OBJECT_INDEX) {
      const QualifiedName name = NameOf(object);
      EffectIndex(Operation::kDrop, ObjectKind::kOther, name.schema, name.name, 0, false, -1);
      continue;
    }
    if (drop->removeType == OBJECT_SCHEMA) {
      const std::string_view schema = NameOf(object).name;
      NoteNamed(Operation::kDrop, schema, ObjectKind::kSchema);
      if (drop->behavior != DROP_CASCADE) continue;
      for (const Relation& relation : catalog_.relations()) {
        if (relation.schema == schema) NoteRelationName(Operation::kDrop, schema, relation.name, false, -1);
      }
      continue;
    }
    if (!IsRelationType(drop->removeType)) {
      NoteObject(Operation::kDrop, drop->removeType, object);
      continue;
    }
    const QualifiedName name = NameOf(object);
    const Relation* relation = NoteRelationName(Operation::kDrop, name.schema, name.name, drop->missing_ok, -1);
    if (relation == nullptr) continue;
    // Partitions go with their table, and children with CASCADE.
    for (const Relation* child : catalog_.Descendants(relation->oid)) {
      EffectIndex(Operation::kDrop, ObjectKind::kRelation, child->schema, child->name, child->oid, false, -1);
    }
  }
}

void Analyzer::Rename(const ::Node* node) {
  const auto* rename = As<::RenameStmt>(node);
  result_.outputs_known = true;
  const ::ObjectType type = rename->renameType;
  // ALTER TABLE … RENAME COLUMN, but ALTER VIEW when it is one's.
  result_.tag = TagOf("ALTER", type == OBJECT_COLUMN ? rename->relationType : type);
  if (type == OBJECT_INDEX || (type == OBJECT_COLUMN && rename->relationType == OBJECT_INDEX)) {
    EffectIndex(Operation::kAlter, ObjectKind::kOther, View(rename->relation->schemaname),
                View(rename->relation->relname), 0, false, -1);
    return;
  }
  if (rename->relation != nullptr && type != OBJECT_ATTRIBUTE) {
    const Relation* relation = NoteRelation(OperationOn(type, Operation::kAlter), rename->relation, rename->missing_ok);
    // Policy knows relations and columns by name.
    if (IsRelationType(type) || type == OBJECT_COLUMN) NoteMoved(relation);
    return;
  }
  if (type == OBJECT_SCHEMA) {
    const std::string_view schema = View(rename->subname);
    NoteNamed(Operation::kAlter, schema, ObjectKind::kSchema);
    for (const Relation& relation : catalog_.relations()) {
      if (relation.schema == schema) NoteMoved(&relation);
    }
    return;
  }
  if (rename->object == nullptr) {
    NoteNamed(OperationOn(type, Operation::kAlter), View(rename->subname));
    return;
  }
  NoteObject(Operation::kAlter, type, rename->object);
}

void Analyzer::AlterSchemaOf(const ::Node* node) {
  const auto* alter = As<::AlterObjectSchemaStmt>(node);
  result_.tag = TagOf("ALTER", alter->objectType);
  result_.outputs_known = true;
  if (alter->relation != nullptr) {
    const Relation* relation = NoteRelation(Operation::kAlter, alter->relation, alter->missing_ok);
    NoteMoved(relation);
    EffectIndex(Operation::kCreate, ObjectKind::kRelation, View(alter->newschema), View(alter->relation->relname), 0,
                false, -1);
    return;
  }
  NoteObject(Operation::kAlter, alter->objectType, alter->object);
}

void Analyzer::AlterOwner(const ::Node* node) {
  const auto* alter = As<::AlterOwnerStmt>(node);
  result_.tag = TagOf("ALTER", alter->objectType);
  result_.outputs_known = true;
  if (alter->relation != nullptr) {
    NoteRelation(Operation::kGrant, alter->relation, false);
    return;
  }
  NoteObject(Operation::kAlter, alter->objectType, alter->object);
  NoteObject(Operation::kGrant, alter->objectType, alter->object);
}

// DEPENDS ON EXTENSION: dropping the extension drops the object.
void Analyzer::AlterDepends(const ::Node* node) {
  const auto* alter = As<::AlterObjectDependsStmt>(node);
  result_.tag = TagOf("ALTER", alter->objectType);
  result_.outputs_known = true;
  if (alter->relation != nullptr && alter->objectType != OBJECT_INDEX) {
    NoteRelation(OperationOn(alter->objectType, Operation::kAlter), alter->relation, false);
  } else {
    NoteObject(Operation::kAlter, alter->objectType, alter->object);
  }
  NoteNamed(Operation::kExtension, alter->extname == nullptr ? "" : View(alter->extname->sval));
}

void Analyzer::Comment(const ::Node* node) {
  const auto* comment = As<::CommentStmt>(node);
  result_.outputs_known = true;
  if (comment->comment != nullptr) result_.written_constants.emplace_back(comment->comment);
  if (IsRelationType(comment->objtype) || IsPartOfTable(comment->objtype)) {
    const QualifiedName name = IsPartOfTable(comment->objtype) ? TableOf(comment->object) : NameOf(comment->object);
    NoteRelationName(Operation::kComment, name.schema, name.name, false, -1);
    return;
  }
  const QualifiedName name = NameOf(comment->object);
  EffectIndex(Operation::kComment, name.name.empty() ? ObjectKind::kNone : KindOf(comment->objtype), name.schema,
              name.name, 0, false, -1);
}

void Analyzer::Grant(const ::Node* node) {
  const auto* grant = As<::GrantStmt>(node);
  result_.tag = grant->is_grant ? "GRANT" : "REVOKE";
  result_.outputs_known = true;
  for (const ::Node* object : Items(grant->objects)) {
    if (grant->targtype == ACL_TARGET_ALL_IN_SCHEMA) {
      NoteNamed(Operation::kGrant, StringOf(object), ObjectKind::kSchema);
    } else if (nodeTag(object) == T_RangeVar) {
      NoteRelation(Operation::kGrant, As<::RangeVar>(object), false);
    } else {
      const QualifiedName name = NameOf(object);
      EffectIndex(Operation::kGrant, name.name.empty() ? ObjectKind::kNone : KindOf(grant->objtype), name.schema,
                  name.name, 0, false, -1);
    }
  }
  if (Items(grant->objects).empty()) NoteNamed(Operation::kGrant, "");
}

void Analyzer::Define(const ::Node* node) {
  const auto* define = As<::DefineStmt>(node);
  result_.tag = TagOf("CREATE", define->kind);
  result_.outputs_known = true;
  // A base type, an operator or an aggregate is made of functions.
  const bool of_functions = define->kind == OBJECT_TYPE || define->kind == OBJECT_AGGREGATE;
  NoteObject(of_functions ? Operation::kCreateFunction : OperationOn(define->kind, Operation::kCreate), define->kind,
             reinterpret_cast<const ::Node*>(define->defnames));
}

void Analyzer::Truncate(const ::Node* node) {
  const auto* truncate = As<::TruncateStmt>(node);
  result_.outputs_known = true;
  if (truncate->behavior == DROP_CASCADE) {
    Fail("TRUNCATE … CASCADE empties every table that references these; name them all instead");
  }
  for (const ::Node* item : Items(truncate->relations)) {
    const auto* var = As<::RangeVar>(item);
    const Relation* relation = NoteRelation(Operation::kTruncate, var, false);
    for (Effect& effect : result_.effects) effect.all_columns = true;
    if (relation == nullptr || !var->inh) continue;
    for (const Relation* child : catalog_.Descendants(relation->oid)) {
      const int index =
          EffectIndex(Operation::kTruncate, ObjectKind::kRelation, child->schema, child->name, child->oid, true, -1);
      result_.effects[index].all_columns = true;
    }
  }
}

void Analyzer::LockTable(const ::Node* node) {
  result_.outputs_known = true;
  for (const ::Node* item : Items(As<::LockStmt>(node)->relations)) {
    NoteRelation(Operation::kLock, As<::RangeVar>(item), false);
  }
}

void Analyzer::Vacuum(const ::Node* node) {
  const auto* vacuum = As<::VacuumStmt>(node);
  result_.tag = vacuum->is_vacuumcmd ? "VACUUM" : "ANALYZE";
  result_.outputs_known = true;
  if (Items(vacuum->rels).empty()) NoteNamed(Operation::kMaintain, "");
  for (const ::Node* item : Items(vacuum->rels)) {
    NoteRelation(Operation::kMaintain, As<::VacuumRelation>(item)->relation, false);
  }
}

void Analyzer::Cluster(const ::Node* node) {
  const auto* cluster = As<::ClusterStmt>(node);
  result_.outputs_known = true;
  if (cluster->relation == nullptr) {
    NoteNamed(Operation::kMaintain, "");
  } else {
    NoteRelation(Operation::kMaintain, cluster->relation, false);
  }
}

void Analyzer::Reindex(const ::Node* node) {
  const auto* reindex = As<::ReindexStmt>(node);
  result_.outputs_known = true;
  switch (reindex->kind) {
    case REINDEX_OBJECT_TABLE:
      NoteRelation(Operation::kMaintain, reindex->relation, false);
      return;
    case REINDEX_OBJECT_INDEX:
      EffectIndex(Operation::kMaintain, ObjectKind::kOther, View(reindex->relation->schemaname),
                  View(reindex->relation->relname), 0, false, -1);
      return;
    case REINDEX_OBJECT_SCHEMA:
      NoteNamed(Operation::kMaintain, View(reindex->name), ObjectKind::kSchema);
      return;
    default:
      NoteNamed(Operation::kMaintain, View(reindex->name));
  }
}

void Analyzer::RefreshMatView(const ::Node* node) {
  result_.outputs_known = true;
  NoteRelation(Operation::kMaintain, As<::RefreshMatViewStmt>(node)->relation, false);
}

void Analyzer::CallProcedure(const ::Node* node) {
  const auto* call = As<::CallStmt>(node);
  const Scope scope(nullptr);
  Flow flow;
  const bool collecting = std::exchange(collecting_constants_, true);
  Expressions(call->funccall->args, scope, &flow);
  collecting_constants_ = collecting;
  Flow result;
  Call(call->funccall, flow, &result);
  // OUT arguments come back as a row whose columns are not known here.
  result_.outputs_known = false;
}

}  // namespace postern::sql::internal
