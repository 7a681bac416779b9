from gunicorn.http.message import Message as Message
from gunicorn.http.message import Request as Request
from gunicorn.http.parser import RequestParser as RequestParser
