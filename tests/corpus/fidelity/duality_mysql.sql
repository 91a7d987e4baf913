-- only: mysql
-- Views that show rows as JSON documents, and take them.
CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(50)); CREATE TABLE orders (id INT PRIMARY KEY, customer INT, item VARCHAR(50), FOREIGN KEY (customer) REFERENCES customers (id));
INSERT INTO customers VALUES (1,'O''Brien;'),(2,'é🦀'); INSERT INTO orders VALUES (10,1,'a'),(11,1,NULL);
CREATE JSON DUALITY VIEW plain AS SELECT JSON_DUALITY_OBJECT('_id': id, 'name': name) FROM customers;
CREATE JSON DUALITY VIEW nested AS SELECT JSON_DUALITY_OBJECT('_id': id, 'name': name, 'orders': (SELECT JSON_ARRAYAGG(JSON_DUALITY_OBJECT('id': id, 'item': item)) FROM orders WHERE orders.customer = customers.id)) FROM customers;
