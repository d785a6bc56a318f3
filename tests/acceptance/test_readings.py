"""No way of writing a request makes it cheaper than the same request written plainly."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from ratelimit import Identity, parse_policy
from ratelimit.model import Readings
from tests.acceptance.readings import POLICY, came_to, sent

# What is behind, the request as sent | what was served ("-": nothing) | counted as | units of the two limits
TABLE = """
starlette    GET /health                                  | GET /health            | exempt                     |  0   0
starlette    GET /docs                                    | -                      | exempt                     |  0   0
starlette    GET /docs/a                                  | GET /docs/{page:path}  | exempt                     |  0   0
starlette    GET /v2/invoices                             | GET /v2/invoices       | search                     |  2   0
starlette    POST /v2/invoices                            | POST /v2/invoices      | heavy_write                |  1  10
starlette    GET /v2/invoices/17                          | GET /v2/invoices/{id}  | detail_read                |  1   0
starlette    GET /v2/invoices/abc                         | GET /v2/invoices/{id}  | detail_read                |  1   0
starlette    DELETE /v2/invoices/17                       | DELETE /v2/invoices/{id} | heavy_write                |  1  10
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
caseless     DELETE /V2/INVOICES/17                       | DELETE /v2/invoices/{id} | heavy_write                |  1  10
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
wsgi         DELETE /v2/invoices/17                       | DELETE /v2/invoices/{} | heavy_write                |  1  10
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
