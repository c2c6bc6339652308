#!/usr/bin/env python3
"""SQLAlchemy: reflects the schema, then reads through its ORM; prints what it saw, to be compared with a direct run."""
import os

import sqlalchemy
from sqlalchemy.ext.automap import automap_base
from sqlalchemy.orm import Session, joinedload, selectinload

address = sqlalchemy.engine.URL.create(
    "postgresql+psycopg2", os.environ["PGUSER"], os.environ["PGPASSWORD"], os.environ["PGHOST"], int(os.environ["PGPORT"]), os.environ["PGDATABASE"],
    query={"sslmode": "verify-full", "sslrootcert": os.environ["PGSSLROOTCERT"]})
engine = sqlalchemy.create_engine(address)

inspector = sqlalchemy.inspect(engine)
print("schemas", sorted(inspector.get_schema_names()))
for table in sorted(inspector.get_table_names("app")):
    print(table, [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(table, "app")])
    print(" keys", inspector.get_pk_constraint(table, "app"), inspector.get_foreign_keys(table, "app"))
    print(" indexes", inspector.get_indexes(table, "app"), inspector.get_unique_constraints(table, "app"), inspector.get_check_constraints(table, "app"))
    print(" comment", inspector.get_table_comment(table, "app"))
for view in inspector.get_view_names("app"):
    print("view", view, inspector.get_view_definition(view, "app"))

metadata = sqlalchemy.MetaData(schema="app")
metadata.reflect(engine)
Base = automap_base(metadata=metadata)
Base.prepare()
Customer, Order, Item = Base.classes.customers, Base.classes.orders, Base.classes.order_items

with Session(engine) as session:
    for order in session.query(Order).options(joinedload(Order.customers), selectinload(Order.order_items_collection)).order_by(Order.id).limit(5):
        print("order", order.id, order.status, order.total, order.customers.name, order.customers.city, sorted((i.product_id, i.quantity) for i in order.order_items_collection))
    print("masked", session.get(Customer, 7).email)
    print("count", session.query(Order).filter(Order.status == "paid").count())
    print("groups", session.query(Customer.city, sqlalchemy.func.count(Customer.id)).group_by(Customer.city).order_by(Customer.city).all())
    sums = session.query(Item.order_id.label("order_id"), sqlalchemy.func.sum(Item.quantity * Item.unit_price).label("total")).group_by(Item.order_id).subquery()
    print("subquery", session.query(Order.id, sums.c.total).join(sums, sums.c.order_id == Order.id).order_by(Order.id).limit(3).all())
    print("page", [c.id for c in session.query(Customer).filter(Customer.city.in_(["York", "Bath"])).order_by(Customer.id).offset(10).limit(5)])
    print("exists", session.query(session.query(Order).filter(Order.customer_id == 7).exists()).scalar())
    ranked = sqlalchemy.func.row_number().over(partition_by=Order.customer_id, order_by=Order.total.desc())
    print("window", session.query(Order.id, ranked).filter(Order.customer_id == 7).order_by(Order.id).all())
    session.rollback()
