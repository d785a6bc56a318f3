"""No way of writing a request makes it cheaper than the same request written plainly."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from ratelimit import Identity, parse_policy
from tests.acceptance.readings import came_to, sent
from tests.fuzz import EXAMPLES

# What is behind, the request as sent | what was served ("-": nothing) | counted as | units of the two limits
TABLE = """
starlette    GET /health                                  | GET /health            | exempt                     |  0   0
starlette    GET /docs                                    | -                      | exempt                     |  0   0
starlette    GET /docs/a                                  | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /v2/invoices                             | GET /v2/invoices       | search                     |  2   0
starlette    POST /v2/invoices                            | POST /v2/invoices      | heavy_write                |  1  10
starlette    GET /v2/invoices/17                          | GET /v2/invoices/{id} | detail_read                |  1   0
starlette    GET /v2/invoices/abc                         | GET /v2/invoices/{id} | detail_read                |  1   0
starlette    DELETE /v2/invoices/17                       | DELETE /v2/invoices/{id} | heavy_write            |  1  10
starlette    GET /v2/customers                            | GET /v2/customers      | search                     |  2   0
starlette    GET /v2/customers/abc                        | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/search                     | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /oauth2                                  | GET /oauth2            | search                     |  2   0
starlette    GET /s3                                      | GET /s3                | search                     |  2   0
starlette    GET /top10                                   | GET /top10             | search                     |  2   0
starlette    GET /v2/reports/2026                         | GET /v2/reports/2026   | search                     |  2   0
starlette    GET /top10/                                  | -                      | search                     |  2   0
starlette    GET /static/app.3f9c1.js                     | GET /static            | detail_read                |  1   0
starlette    GET /static/app.js                           | GET /static            | search                     |  2   0
starlette    GET /static/app.js.map                       | GET /static            | search                     |  2   0
starlette    GET /pages/v2/customers                      | GET /pages/**          | search                     |  2   0
starlette    GET /pages/v2/customers/17                   | GET /pages/**          | detail_read                |  1   0
starlette    GET /pages/about                             | GET /pages/**          | search                     |  2   0
starlette    GET /nothing/7                               | -                      | detail_read                |  1   0
starlette    GET /nothing                                 | -                      | search                     |  2   0
starlette    PUT /v2/invoices/17                          | -                      | write                      |  4   0
starlette    PATCH /x                                     | -                      | write                      |  4   0
starlette    OPTIONS /v2/invoices                         | OPTIONS /v2/invoices   | preflight                  |  5   0
starlette    PREFLIGHT /v2/invoices                       | OPTIONS /v2/invoices   | preflight                  |  5   0
starlette    PREFLIGHT /v2/customers                      | OPTIONS /v2/customers  | exempt                     |  0   0
starlette    PREFLIGHT /docs/a                            | -                      | exempt                     |  0   0
starlette    PREFLIGHT /V2/Invoices                       | -                      | preflight                  |  5   0
starlette    PREFLIGHT /docs/../v2/invoices               | -                      | preflight                  |  5   0
starlette    PREFLIGHT /v2/customers/../invoices          | -                      | preflight                  |  5   0
starlette    GET /Internal/7                              | GET /Internal/{id}     | exempt                     |  0   0
starlette    GET /internal/7                              | -                      | detail_read                |  1   0
starlette    GET /INTERNAL/7                              | -                      | detail_read                |  1   0
starlette    GET /docs//a                                 | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET //docs///a//                             | -                      | exempt                     |  0   0
starlette    GET /docs/                                   | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /docs/a.                                 | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /docs/.well-known                        | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /docs/a;v=1                              | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /docs/%C3%A9                             | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /docs/100%25                             | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /docs/a%20b                              | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /docs/v1.2/                              | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /docs/...                                | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /health/                                 | -                      | exempt                     |  0   0
starlette    GET /health;v=1                              | -                      | detail_read                |  1   0
starlette    GET /health.                                 | -                      | search                     |  2   0
starlette    GET /health%20                               | -                      | search                     |  2   0
starlette    GET /HEALTH                                  | -                      | search                     |  2   0
starlette    GET /Health                                  | -                      | search                     |  2   0
starlette    GET /DOCS                                    | -                      | search                     |  2   0
starlette    GET /Docs/a                                  | -                      | search                     |  2   0
starlette    GET /docs/A                                  | GET /docs/{page:path}  | exempt                     |  0   0
starlette    POST /V2/Invoices                            | -                      | heavy_write                |  1  10
starlette    POST /V2/INVOICES/                           | -                      | heavy_write                |  1  10
starlette    DELETE /V2/invoices/abc                      | -                      | heavy_write                |  1  10
starlette    GET /V2/customers/abc                        | -                      | detail_read                |  1   0
starlette    GET /V2/Customers                            | -                      | search                     |  2   0
starlette    GET /v2/customers/ABC                        | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /TOP10                                   | -                      | search                     |  2   0
starlette    GET /S3                                      | -                      | search                     |  2   0
starlette    POST /docs/../v2/invoices                    | -                      | heavy_write                |  1  10
normalising  POST /docs/../v2/invoices                    | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%2e%2e/v2/invoices                | -                      | heavy_write                |  1  10
normalising  POST /docs/%2e%2e/v2/invoices                | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%2e./v2/invoices                  | -                      | heavy_write                |  1  10
normalising  POST /docs/%2e./v2/invoices                  | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/.%2E/v2/invoices                  | -                      | heavy_write                |  1  10
normalising  POST /docs/.%2E/v2/invoices                  | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs%2F..%2Fv2/invoices                | -                      | heavy_write                |  1  10
normalising  POST /docs%2F..%2Fv2/invoices                | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/..%2fv2%2finvoices                | -                      | heavy_write                |  1  10
normalising  POST /docs/..%2fv2%2finvoices                | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/..%5cv2%5cinvoices                | -                      | heavy_write                |  1  10
normalising  POST /docs/..%5cv2%5cinvoices                | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs%5C..%5Cv2%5Cinvoices              | -                      | create·heavy_write         |  3  10
normalising  POST /docs%5C..%5Cv2%5Cinvoices              | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /docs/..;/v2/invoices                   | -                      | heavy_write                |  1  10
normalising  POST /docs/..;/v2/invoices                   | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/..;x=1/v2/invoices                | -                      | heavy_write                |  1  10
normalising  POST /docs/..;x=1/v2/invoices                | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%2e%2e%3b/v2/invoices             | -                      | heavy_write                |  1  10
normalising  POST /docs/%2e%2e%3b/v2/invoices             | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%252e%252e/v2/invoices            | -                      | heavy_write                |  1  10
normalising  POST /docs/%252e%252e/v2/invoices            | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%252e%252e%252fv2/invoices        | -                      | heavy_write                |  1  10
normalising  POST /docs/%252e%252e%252fv2/invoices        | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%25252e%25252e/v2/invoices        | -                      | heavy_write                |  1  10
lenient      POST /docs/%25252e%25252e/v2/invoices        | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%c0%ae%c0%ae/v2/invoices          | -                      | heavy_write                |  1  10
lenient      POST /docs/%c0%ae%c0%ae/v2/invoices          | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/..%c0%afv2/invoices               | -                      | heavy_write                |  1  10
lenient      POST /docs/..%c0%afv2/invoices               | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%e0%80%ae%e0%80%ae/v2/invoices    | -                      | heavy_write                |  1  10
lenient      POST /docs/%e0%80%ae%e0%80%ae/v2/invoices    | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%f0%80%80%ae./v2/invoices         | -                      | heavy_write                |  1  10
lenient      POST /docs/%f0%80%80%ae./v2/invoices         | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%25c0%25ae%25c0%25ae/v2/invoices  | -                      | heavy_write                |  1  10
lenient      POST /docs/%25c0%25ae%25c0%25ae/v2/invoices  | -                      | heavy_write                |  1  10
starlette    POST /docs/%u002e%u002e/v2/invoices          | -                      | heavy_write                |  1  10
lenient      POST /docs/%u002e%u002e/v2/invoices          | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/%ef%bc%8e%ef%bc%8e/v2/invoices    | -                      | heavy_write                |  1  10
lenient      POST /docs/%ef%bc%8e%ef%bc%8e/v2/invoices    | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/..%ef%bc%8fv2/invoices            | -                      | heavy_write                |  1  10
lenient      POST /docs/..%ef%bc%8fv2/invoices            | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/.%09./v2/invoices                 | -                      | heavy_write                |  1  10
lenient      POST /docs/.%09./v2/invoices                 | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/.%00./v2/invoices                 | -                      | heavy_write                |  1  10
lenient      POST /docs/.%00./v2/invoices                 | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/.%ff./v2/invoices                 | -                      | heavy_write                |  1  10
lenient      POST /docs/.%ff./v2/invoices                 | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs//../v2/invoices                   | -                      | heavy_write                |  1  10
normalising  POST /docs//../v2/invoices                   | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs//..//v2//invoices                 | -                      | heavy_write                |  1  10
normalising  POST /docs//..//v2//invoices                 | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/./../v2/invoices                  | -                      | heavy_write                |  1  10
normalising  POST /docs/./../v2/invoices                  | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/a/../../v2/invoices               | -                      | heavy_write                |  1  10
normalising  POST /docs/a/../../v2/invoices               | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/../../../v2/invoices              | -                      | heavy_write                |  1  10
normalising  POST /docs/../../../v2/invoices              | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/..%20/v2/invoices                 | -                      | heavy_write                |  1  10
normalising  POST /docs/..%20/v2/invoices                 | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /docs/../v2/invoices.                   | -                      | create·heavy_write         |  3  10
normalising  POST /docs/../v2/invoices.                   | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /docs/../v2/invoices;v=1                | -                      | create·heavy_write         |  3  10
normalising  POST /docs/../v2/invoices;v=1                | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /docs/../V2/Invoices                    | -                      | heavy_write                |  1  10
normalising  POST /docs/../V2/Invoices                    | -                      | heavy_write                |  1  10
starlette    POST /docs/..%2f..%2fv2/invoices%3Fx         | -                      | create·heavy_write         |  3  10
normalising  POST /docs/..%2f..%2fv2/invoices%3Fx         | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /docs/%2e%2e/v2/invoices/17             | -                      | create                     |  3   0
normalising  POST /docs/%2e%2e/v2/invoices/17             | -                      | create                     |  3   0
wsgi         GET /docs/../v2/invoices                     | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs/%2e%2e/v2/invoices                 | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs/%2e./v2/invoices                   | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs/.%2E/v2/invoices                   | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs%2F..%2Fv2/invoices                 | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs/..%2fv2%2finvoices                 | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs/..%5cv2%5cinvoices                 | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs%5C..%5Cv2%5Cinvoices               | -                      | detail_read·search         |  2   0
wsgi         GET /docs/..;/v2/invoices                    | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs/..;x=1/v2/invoices                 | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs/%2e%2e%3b/v2/invoices              | GET /docs/{}           | search                     |  2   0
wsgi         GET /docs/%252e%252e/v2/invoices             | GET /docs/{}           | search                     |  2   0
normalising  POST /v2/invoices/                           | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /v2/invoices/                           | -                      | heavy_write                |  1  10
normalising  POST //v2//invoices                          | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST //v2//invoices                          | -                      | heavy_write                |  1  10
normalising  POST /v2/./invoices                          | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/./invoices                          | -                      | create·heavy_write         |  3  10
normalising  POST /v2/x/../invoices                       | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/x/../invoices                       | -                      | create·heavy_write         |  3  10
normalising  POST /../v2/invoices                         | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /../v2/invoices                         | -                      | create·heavy_write         |  3  10
normalising  POST /v2/invoices/.                          | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices/.                          | -                      | create·heavy_write         |  3  10
normalising  POST /v2/invoices/x/..                       | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices/x/..                       | -                      | create·heavy_write         |  3  10
normalising  POST /v2/invoices;v=1                        | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices;v=1                        | -                      | create·heavy_write         |  3  10
normalising  POST /v2;x/invoices                          | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2;x/invoices                          | -                      | create·heavy_write         |  3  10
normalising  POST /v2/invoices.                           | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices.                           | -                      | create·heavy_write         |  3  10
normalising  POST /v2/invoices%20                         | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%20                         | -                      | create·heavy_write         |  3  10
lenient      POST /v2/invoices%09                         | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%09                         | -                      | create·heavy_write         |  3  10
lenient      POST /v2/invoices%0A                         | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /v2/invoices%0A                         | POST /v2/invoices      | heavy_write                |  1  10
lenient      POST /v2/invoices%00                         | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%00                         | -                      | create·heavy_write         |  3  10
lenient      POST /v2/invoices%00.html                    | -                      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%00.html                    | -                      | create·heavy_write         |  3  10
normalising  POST /v2/invoices%3Fx=1                      | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%3Fx=1                      | -                      | create·heavy_write         |  3  10
normalising  POST /v2/invoices%23x                        | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%23x                        | -                      | create·heavy_write         |  3  10
normalising  POST /v2%5Cinvoices                          | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2%5Cinvoices                          | -                      | create·heavy_write         |  3  10
normalising  POST /v2%2Finvoices                          | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /v2%2Finvoices                          | POST /v2/invoices      | heavy_write                |  1  10
normalising  POST /v2%252Finvoices                        | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2%252Finvoices                        | -                      | create·heavy_write         |  3  10
normalising  POST /%76%32/invoices                        | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /%76%32/invoices                        | POST /v2/invoices      | heavy_write                |  1  10
normalising  POST /%2576%2532/invoices                    | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /%2576%2532/invoices                    | -                      | create·heavy_write         |  3  10
normalising  POST /v2/%69nvoices                          | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /v2/%69nvoices                          | POST /v2/invoices      | heavy_write                |  1  10
normalising  POST /v2/inv%6Fices/                         | POST /v2/invoices      | heavy_write                |  1  10
starlette    POST /v2/inv%6Fices/                         | -                      | heavy_write                |  1  10
lenient      POST /v2/%ef%bd%89nvoices                    | -                      | create·heavy_write         |  3  10
starlette    POST /v2/%ef%bd%89nvoices                    | -                      | create·heavy_write         |  3  10
normalising  POST /v2/invoice%C5%BF                       | -                      | heavy_write                |  1  10
starlette    POST /v2/invoice%C5%BF                       | -                      | heavy_write                |  1  10
normalising  POST /v2/invoices%e2%80%8b                   | -                      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%e2%80%8b                   | -                      | create·heavy_write         |  3  10
normalising  POST /V2/invoices                            | -                      | heavy_write                |  1  10
starlette    POST /V2/invoices                            | -                      | heavy_write                |  1  10
normalising  POST /v2/INVOICES                            | -                      | heavy_write                |  1  10
starlette    POST /v2/INVOICES                            | -                      | heavy_write                |  1  10
normalising  POST /v2/invo%49ces                          | -                      | heavy_write                |  1  10
starlette    POST /v2/invo%49ces                          | -                      | heavy_write                |  1  10
lenient      POST /v2/invoices%c0%80                      | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%c0%80                      | -                      | create·heavy_write         |  3  10
lenient      POST /v2/invoices%ff                         | POST /v2/invoices      | create·heavy_write         |  3  10
starlette    POST /v2/invoices%ff                         | -                      | create·heavy_write         |  3  10
wsgi         POST /v2/invoices/                           | POST /v2/invoices      | heavy_write                |  1  10
wsgi         POST //v2//invoices                          | POST /v2/invoices      | heavy_write                |  1  10
wsgi         POST /v2/invoices                            | POST /v2/invoices      | heavy_write                |  1  10
wsgi         POST /V2/invoices                            | -                      | heavy_write                |  1  10
wsgi         POST /v2/x/../invoices                       | -                      | create·heavy_write         |  3  10
wsgi         POST /v2%2Finvoices                          | POST /v2/invoices      | heavy_write                |  1  10
wsgi         POST /v2/invoices;v=1                        | -                      | create·heavy_write         |  3  10
caseless     POST /V2/Invoices                            | POST /v2/invoices      | heavy_write                |  1  10
caseless     POST /v2/INVOICES                            | POST /v2/invoices      | heavy_write                |  1  10
caseless     GET /DOCS/a                                  | GET /docs/{page:path}  | search                     |  2   0
caseless     GET /HEALTH                                  | GET /health            | search                     |  2   0
caseless     DELETE /V2/INVOICES/17                       | DELETE /v2/invoices/{id} | heavy_write            |  1  10
caseless     GET /V2/CUSTOMERS/abc                        | GET /v2/customers/{id} | detail_read                |  1   0
caseless     GET /v2/customers/ABC                        | GET /v2/customers/{id} | detail_read                |  1   0
caseless     GET /OAUTH2                                  | GET /oauth2            | search                     |  2   0
caseless     GET /STATIC/app.3f9c1.js                     | GET /static            | detail_read                |  1   0
caseless     GET /v2/Customers                            | GET /v2/customers      | search                     |  2   0
caseless     POST /v2/invo%C4%B0ces                       | -                      | heavy_write                |  1  10
caseless     POST /v2/invoice%C5%BF                       | -                      | heavy_write                |  1  10
starlette    GET /v2/customers/abc/                       | -                      | detail_read                |  1   0
normalising  GET /v2/customers/abc/                       | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/abc/.                      | -                      | search·detail_read         |  2   0
normalising  GET /v2/customers/abc/.                      | GET /v2/customers/{id} | search·detail_read         |  2   0
starlette    GET /v2/customers/abc;v=1                    | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers/abc;v=1                    | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/abc.                       | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers/abc.                       | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers//abc                       | -                      | detail_read                |  1   0
normalising  GET /v2/customers//abc                       | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/x/../abc                   | -                      | search·detail_read         |  2   0
normalising  GET /v2/customers/x/../abc                   | GET /v2/customers/{id} | search·detail_read         |  2   0
starlette    GET /v2/customers/17                         | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers/17                         | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/%31%37                     | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers/%31%37                     | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/%EF%BC%91                  | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers/%EF%BC%91                  | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/%D9%A3                     | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers/%D9%A3                     | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/17%20                      | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers/17%20                      | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers%2F17                       | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers%2F17                       | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/%2531                      | GET /v2/customers/{id} | detail_read                |  1   0
normalising  GET /v2/customers/%2531                      | GET /v2/customers/{id} | detail_read                |  1   0
starlette    GET /v2/customers/.                          | GET /v2/customers/{id} | detail_read·search         |  2   0
normalising  GET /v2/customers/.                          | GET /v2/customers      | detail_read·search         |  2   0
starlette    GET /v2/customers/..                         | GET /v2/customers/{id} | detail_read·search         |  2   0
normalising  GET /v2/customers/..                         | -                      | detail_read·search         |  2   0
starlette    GET /v2/customers/abc/..                     | -                      | search                     |  2   0
normalising  GET /v2/customers/abc/..                     | GET /v2/customers      | search                     |  2   0
starlette    GET /v2/customers;17                         | -                      | detail_read·search         |  2   0
normalising  GET /v2/customers;17                         | GET /v2/customers      | detail_read·search         |  2   0
wsgi         GET /health                                  | GET /health            | exempt                     |  0   0
wsgi         GET /docs/a                                  | GET /docs/{}           | exempt                     |  0   0
wsgi         GET /v2/customers/17                         | GET /v2/customers/{}   | detail_read                |  1   0
wsgi         GET /v2/customers/abc                        | GET /v2/customers/{}   | search                     |  2   0
wsgi         GET /v2/customers                            | GET /v2/customers      | search                     |  2   0
wsgi         DELETE /v2/invoices/17                       | DELETE /v2/invoices/{} | heavy_write              |  1  10
wsgi         GET /docs/%2e%2e/health                      | GET /docs/{}           | exempt                     |  0   0
"""
ROWS = [[part.strip() for part in line.split("|")] for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(("asked", "served", "operation", "units"), ROWS, ids=[row[0] for row in ROWS])
def test_table(asked: str, served: str, operation: str, units: str) -> None:
    """Each request is counted as what it may be read as, and charged no less than what was served costs plainly."""
    name, line = asked.split(" ", 1)
    *found, light, heavy = came_to(line.strip(), name)
    assert (found, [light, heavy]) == ([served, operation], [int(number) for number in units.split()])
    for plain in PLAINLY.get(served, ()):
        _, _, *least = came_to(plain, "starlette")
        assert light >= least[0]
        assert heavy >= least[1]


# How one writes plainly what the apps call so, where that is known and not guessed
PLAINLY = {
    **{line: (line,) for line in ("GET /v2/invoices", "POST /v2/invoices", "GET /v2/customers", "GET /oauth2")},
    "GET /v2/customers/{id}": ("GET /v2/customers/abc", "GET /v2/customers/17"),
    "DELETE /v2/invoices/{id}": ("DELETE /v2/invoices/abc",),
    "DELETE /v2/invoices/{}": ("DELETE /v2/invoices/abc",),
}


WORDS = ["docs", "v2", "invoices", "customers", "health", "17", "abc", "top10", "search"]
RULES = [
    "* /docs/**",
    "GET /health",
    "* /v2/*/search",
    "POST /v2/invoices",
    "DELETE /v2/invoices/{id}",
    "GET /v2/**/search",
]
OPERATIONS = ["exempt", "detail_read", "search", "create", "write", "heavy_write"]


async def endpoint(request: Any) -> None:
    """Never asked."""


APP = Starlette(
    routes=[
        *(Route(path, endpoint) for path in ("/top10", "/v2/customers", "/v2/customers/search", "/v2/customers/{id}")),
        *(Route(path, endpoint) for path in ("/V2/Invoices", "/v2/invoices/{id:int}", "/docs/{page:path}")),
    ]
)


@st.composite
def spelled(draw: st.DrawFn, plain: str) -> str:
    """The plain path in another way, decoded."""
    path = plain
    for way in draw(st.lists(st.sampled_from(WAYS), max_size=4)):
        path = way(path, draw)
    return path


def _at_a_slash(text: str) -> Any:
    """A way that puts a text in the place of a slash."""

    def way(path: str, draw: st.DrawFn) -> str:
        slashes = [at for at, character in enumerate(path) if character == "/"]
        at = draw(st.sampled_from(slashes)) if slashes else None
        return path if at is None else path[:at] + text + path[at + 1 :]

    return way


def _behind_a_segment(text: str) -> Any:
    """A way that puts a text behind a segment that is no dot segment, which it could change."""

    def way(path: str, draw: st.DrawFn) -> str:
        segments = path.split("/")
        able = [at for at, segment in enumerate(segments) if segment.strip("\\./ ")]
        at = draw(st.sampled_from(able or [0]))
        segments[at] += text if able else ""
        return "/".join(segments)

    return way


def _for_a_letter(change: Any) -> Any:
    def way(path: str, draw: st.DrawFn) -> str:
        able = [at for at, character in enumerate(path) if character.isascii() and character.isalnum()]
        at = draw(st.sampled_from(able or [len(path)]))
        return path[:at] + "".join(map(change, path[at : at + 1])) + path[at + 1 :]

    return way


WAYS = [
    *map(
        _at_a_slash,
        ["//", "/./", "/x/../", "/docs/../", "/health/..;/", "\\", "/.//", "%2f", "%5c", "/%2e/", "/x/%2e%2e/"],
    ),
    *map(_behind_a_segment, [";", ";v=1", ".", " ", "..", "\t", "\x00", "\ufffd", "%09"]),
    *map(
        _for_a_letter,
        [
            str.upper,
            lambda c: chr(ord(c) + 0xFEE0),
            lambda c: f"%{ord(c):02x}",
            lambda c: f"%u{ord(c):04x}",
            lambda c: f"{c}\x7f",
        ],
    ),
    lambda path, draw: "/docs/.." + path,
    lambda path, draw: "/.." + path,
    lambda path, draw: path + draw(st.sampled_from(["/", "?x", "#x", "/.", "/x/..", "\n", "\x00.html"])),
]


@settings(deadline=None, max_examples=EXAMPLES or 120)
@given(
    plain=st.lists(st.sampled_from(WORDS), max_size=4).map(lambda words: "/" + "/".join(words)),
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PREFLIGHT"]),
    rules=st.lists(
        st.tuples(st.sampled_from(RULES), st.sampled_from(OPERATIONS)), max_size=4, unique_by=lambda rule: rule[0]
    ),
    costs=st.permutations([1, 2, 3, 4, 5]),
    app=st.sampled_from([None, APP]),
    root_path=st.sampled_from(["", "/v2", "/api"]),
    data=st.data(),
)
def test_any_spelling(
    plain: str,
    method: str,
    rules: list[tuple[str, str]],
    costs: list[int],
    app: Any,
    root_path: str,
    data: st.DataObject,
) -> None:
    """A path in two ways: the charge of the odd one is, limit by limit, at least that of the plain one."""
    by_name = {name: sorted({rule for rule, other in rules if other == name}) for _, name in rules}
    listed = "\n".join(f"{name} = {texts}" for name, texts in by_name.items())
    prices = ", ".join(f"{name} = {cost}" for name, cost in zip(OPERATIONS[1:], costs, strict=True))
    policy = parse_policy(f"""
[operations]
{listed}
[tiers.anonymous]
limits = [
  {{ name = "units", rate = "99/minute", cost = {{ {prices} }} }},
  {{ name = "some", rate = "99/minute", operations = ["heavy_write", "search"] }},
  {{ name = "others", concurrency = 9, operations = ["create", "detail_read"] }},
]
""")
    classify = policy.classify.for_app(app) if app else policy.classify  # type: ignore[attr-defined]

    def charged(path: str, *, unreadable: bool = False) -> dict[str, int]:
        raw = quote(path, safe="/;%.")
        if unreadable:
            raw = raw.replace(".", "%c0%ae")
        operation = classify(sent(f"{method} {raw}") | {"root_path": root_path})
        charges = () if operation is None else policy.charges(Identity(ip="192.0.2.7", tier="anonymous"), operation)
        return {charge.limit.name: charge.cost for charge in charges}

    odd, unreadable = data.draw(spelled(plain)), data.draw(st.booleans())
    dear, cheap = charged(odd, unreadable=unreadable), charged(plain)
    assert all(dear.get(name, 0) >= cost for name, cost in cheap.items()), (odd, plain, dear, cheap)
